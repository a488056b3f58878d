"""DIMSE alone: who may send us what, and what an archive does that breaks off."""

import threading
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import date
from types import SimpleNamespace

import pytest
from orthanc import OWN_TITLE, STRANGER
from proxy import Proxy
from pydicom import Dataset
from pydicom.uid import CTImageStorage, EncapsulatedPDFStorage, ExplicitVRLittleEndian
from pynetdicom import AE, build_context, evt
from whole_files import data_sets, fetched

from client_app.data.pacs import dimse
from client_app.data.pacs import inbox as inbox_module
from client_app.data.pacs.archive import archive
from client_app.data.pacs.dropped import DroppedError
from client_app.data.pacs.inbox import Inbox
from client_app.data.pacs.intake import Receiver
from client_app.data.pacs.listing import Listed
from client_app.data.pacs.meter import Meter
from client_app.data.pacs.settings import DimseSettings, Rate
from client_app.data.pacs.source import Query, Wanted
from client_app.data.pacs.syntaxes import FIND, GET, MOVE, SOP_CLASSES
from client_app.data.refusal import Refused
from federation.errors import RunError
from simulation.hospital.ct_series import CtStudy, studies
from simulation.programs import free_ports

# pynetdicom leaves sockets of connections that were refused or reset to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

FROM_A_STRANGER = "C-STORE to us by a station that is not the PACS"
OF_ANOTHER_STUDY = "C-STORE to us of a file that was not asked for"
LOST = "an answer to C-FIND that is lost without a word"

SUCCESS, NOT_AUTHORISED, DUPLICATE, WRONG_CLASS = 0x0000, 0x0124, 0x0111, 0xA900


@pytest.fixture
def study():
    return studies(1, slices=5)[0]


@pytest.fixture
def settings():
    (port,) = free_ports(1)
    return DimseSettings(
        host="localhost",
        port=port,
        title="NORTHPACS",
        own_title=OWN_TITLE,
        retrieve="move",
        own_port=free_ports(1)[0],
        timeout=5,
        retries=1,
        instance_mib=1,
    )


@pytest.fixture
def listening(settings, study, tmp_path):
    """Our receiver while the study is asked for; yields its settings, and what has come."""
    receiver = Receiver(settings, Meter(Rate()))
    expected = [Listed(study.sop_uid(n), study.series_uid(), CTImageStorage) for n in range(study.slices)]
    with (
        Inbox.opened(tmp_path / "in", study.uid, expected, settings, Meter(Rate())) as inbox,
        receiver.into(inbox),
    ):
        yield inbox
    receiver.close()


def send(settings, *files, title="NORTHPACS", called=OWN_TITLE):
    """The statuses of C-STORE, or None where there was no association."""
    entity = AE(title)
    contexts = [build_context(name, ExplicitVRLittleEndian) for name in {file.SOPClassUID for file in files}]
    made = entity.associate("localhost", settings.own_port, contexts=contexts, ae_title=called)
    if not made.is_established:
        return None
    try:
        return [made.send_c_store(file).get("Status") for file in files]
    finally:
        made.release()


class TestWhoMaySend:
    def test_the_archive_may(self, listening, settings, study):
        assert send(settings, study.instance(0), study.instance(0)) == [SUCCESS, SUCCESS]
        assert len(listening.missing) == 4

    @pytest.mark.attack(FROM_A_STRANGER, held_by="the archive's AE title, and ours as the one that is called")
    @pytest.mark.parametrize("titles", [{"title": STRANGER}, {"title": "northpacs"}, {"called": "ANY-SCP"}])
    def test_a_stranger_may_not(self, listening, settings, study, titles):
        assert send(settings, study.instance(0), **titles) is None
        assert len(listening.missing) == 5

    @pytest.mark.mutant(FROM_A_STRANGER, "asks nobody who they are")
    def test_one_that_asks_nobody_would_take_it(self, listening, settings, study, monkeypatch):
        for name, value in (("require_calling_aet", []), ("require_called_aet", False)):
            monkeypatch.setattr(AE, name, property(lambda _, value=value: value, lambda *_: None))
        assert send(settings, study.instance(0), title=STRANGER) == [SUCCESS]

    def other_files(self, study):
        """Of another study; of this one but not asked for; announced as one and being the other."""
        other = replace(study, number=7)
        beside = replace(study, slices=9).instance(8)
        under_our_uid = other.instance(0)
        under_our_uid.SOPInstanceUID = under_our_uid.file_meta.MediaStorageSOPInstanceUID = study.sop_uid(0)
        return [other.instance(0), beside, under_our_uid]

    @pytest.mark.attack(OF_ANOTHER_STUDY, held_by="the UIDs in the file, which must be those asked for")
    def test_what_was_not_asked_for_is_not_taken(self, listening, settings, study):
        assert send(settings, *self.other_files(study)) == [NOT_AUTHORISED] * 3
        assert listening.refused == {"not-asked-for": 2, "another-study": 1}
        assert len(listening.missing) == 5

    @pytest.mark.attack(OF_ANOTHER_STUDY, held_by="the UIDs in the file, which must be those asked for")
    def test_a_name_is_not_enough(self, listening, settings, study, monkeypatch):
        """It announces a file that we want, and sends another."""
        wrong = replace(study, number=7).instance(0)
        entity = AE("NORTHPACS")
        made = entity.associate(
            "localhost",
            settings.own_port,
            contexts=[build_context(CTImageStorage, ExplicitVRLittleEndian)],
            ae_title=OWN_TITLE,
        )
        monkeypatch.setattr(Dataset, "SOPInstanceUID", study.sop_uid(0), raising=False)
        assert made.send_c_store(wrong).Status == NOT_AUTHORISED
        made.release()

    @pytest.mark.mutant(OF_ANOTHER_STUDY, "believes what a file was announced as")
    def test_one_that_believes_would_take_it(self, listening, settings, study, monkeypatch):
        def announced(path):
            believed = read(path)
            return believed | {"StudyInstanceUID": study.uid}

        read = inbox_module.read_header
        monkeypatch.setattr(inbox_module, "read_header", announced)
        *_, under_our_uid = self.other_files(study)
        assert send(settings, under_our_uid) == [SUCCESS]

    def test_outside_of_a_fetch_nothing_is_taken(self, settings, study):
        receiver = Receiver(settings, Meter(Rate()))
        assert send(settings, study.instance(0)) == [NOT_AUTHORISED]
        receiver.close()

    def test_what_is_no_image_finds_no_context(self, listening, settings, study):
        document = study.instance(0)
        document.SOPClassUID = document.file_meta.MediaStorageSOPClassUID = EncapsulatedPDFStorage
        assert send(settings, document) is None

    def test_another_kind_than_the_archive_has_listed_is_refused(self, listening, settings, study):
        other = study.instance(0)
        other.SOPClassUID = other.file_meta.MediaStorageSOPClassUID = SOP_CLASSES[3]
        assert send(settings, other) == [WRONG_CLASS]

    def test_the_same_uid_with_other_pixels_is_a_conflict(self, listening, settings, study):
        assert send(settings, study.instance(0), altered(study.instance(0))) == [SUCCESS, DUPLICATE]
        assert listening.in_conflict

    def test_a_message_that_is_larger_than_a_file_may_be_is_broken_off(self, listening, settings, study):
        large = study.instance(0)
        large.PixelData = bytes(3 << 20)
        assert send(settings, large) == [None]
        assert listening.refused == {"too-large": 1}
        assert listening.hopeless
        assert len(listening.missing) == 5

    def test_a_port_that_is_taken_is_named(self, listening, settings):
        with pytest.raises(RunError, match=f"own_port={settings.own_port}"):
            Receiver(settings, Meter(Rate()))


@dataclass
class Misbehaving:
    """A PACS of the test's own; ``with`` it listens.

    Attributes:
        settings: whose port and titles it has.
        study: what it holds.
        aborts: after how many files each of the next transfers is broken off.
        lies: that it says of one more file than there is.
        hidden: that it does not say of what kind its files are.
        twice: that it sends the first file once more, with other pixels.
        modalities: what it says its study was taken with.
        asked: the files that each transfer was to bring.
    """

    settings: DimseSettings
    study: CtStudy
    aborts: list[int] = field(default_factory=list)
    lies: bool = False
    hidden: bool = False
    twice: bool = False
    modalities: str = "CT"
    asked: list[list[str]] = field(default_factory=list)

    def __enter__(self):
        entity = AE(self.settings.title)
        entity.supported_contexts = [build_context(FIND), build_context(GET), build_context(MOVE)]
        for name in SOP_CLASSES:
            entity.add_supported_context(name, ExplicitVRLittleEndian, scu_role=True, scp_role=True)
        entity.requested_contexts = [build_context(CTImageStorage, ExplicitVRLittleEndian)]
        handlers = [(evt.EVT_C_FIND, self.find), (evt.EVT_C_GET, self.files), (evt.EVT_C_MOVE, self.move)]
        self.server = entity.start_server(
            ("localhost", self.settings.port), block=False, evt_handlers=handlers
        )
        return self

    def __exit__(self, *_):
        self.server.shutdown()

    def find(self, event):
        key, answer = event.identifier, Dataset()
        answer.QueryRetrieveLevel = key.QueryRetrieveLevel
        answer.StudyInstanceUID, answer.SeriesInstanceUID = self.study.uid, self.study.series_uid()
        answer.AccessionNumber, answer.PatientID, answer.ModalitiesInStudy = (
            self.study.accession,
            "P",
            self.modalities,
        )
        answer.StudyDate = self.study.date
        answer.NumberOfStudyRelatedInstances = self.study.slices + self.lies
        for place in range(self.study.slices if key.QueryRetrieveLevel == "IMAGE" else 1):
            answer.SOPInstanceUID = self.study.sop_uid(place)
            answer.SOPClassUID = "" if self.hidden else CTImageStorage
            yield 0xFF00, answer
        yield 0x0000, None

    def files(self, event):
        found = {one.SOPInstanceUID: one for one in self.study.instances()}
        uids = event.identifier.get("SOPInstanceUID") or list(found)
        uids = [uids] if isinstance(uids, str) else list(uids)
        self.asked.append(uids)
        sent = [found[uid] for uid in uids] + [altered(found[uids[0]])] * self.twice
        yield len(sent)
        most = self.aborts.pop(0) if self.aborts else None
        for number, one in enumerate(sent):
            if number == most:
                event.assoc.abort()
                return
            yield 0xFF00, one

    def move(self, event):
        yield "localhost", self.settings.own_port
        yield from self.files(event)


def altered(file):
    """The same, of other pixels."""
    other = deepcopy(file)
    other.PixelData = bytes(len(other.PixelData))
    return other


both_ways = pytest.mark.parametrize("way", ["get", "move"])


class TestBrokenOff:
    def fetch(self, settings, study, folder, **changes):
        with archive(settings.model_copy(update=changes)) as source:
            (ref,) = source.find(Wanted(accessions=(study.accession,)))
            return list(source.fetch(ref, folder))

    @both_ways
    def test_what_came_is_kept_and_only_the_rest_is_asked_for_again(self, settings, study, way, tmp_path):
        with Misbehaving(settings, study, aborts=[2, 1]) as pacs:
            assert len(self.fetch(settings, study, tmp_path / "in", retrieve=way)) == 5
        assert fetched(tmp_path / "in") == data_sets([study])
        uids = [study.sop_uid(place) for place in range(5)]
        assert pacs.asked == [uids, uids[2:], uids[3:]]

    @both_ways
    def test_in_the_end_it_says_how_many_are_missing(self, settings, study, way, tmp_path):
        with (
            Misbehaving(settings, study, aborts=[2, 0, 0, 0]),
            pytest.raises(RunError, match=r"^3 of a study's 5 files have not come after retries=1"),
        ):
            self.fetch(settings, study, tmp_path / "in", retrieve=way)
        assert len(fetched(tmp_path / "in")) == 2
        with Misbehaving(settings, study) as pacs:
            assert len(self.fetch(settings, study, tmp_path / "in", retrieve=way)) == 5
        assert [len(uids) for uids in pacs.asked] == [3]

    @both_ways
    def test_fewer_files_than_it_says_itself_are_not_a_study(self, settings, study, way, tmp_path):
        with (
            Misbehaving(settings, study, lies=True),
            pytest.raises(RunError, match=r"lists 5 of a study.s 6 files"),
        ):
            self.fetch(settings, study, tmp_path / "in", retrieve=way)

    @both_ways
    def test_two_files_of_one_uid_are_refused_and_stay_so(self, settings, study, way, tmp_path):
        for twice in (True, False):
            with Misbehaving(settings, study, twice=twice), pytest.raises(Refused) as refusal:
                self.fetch(settings, study, tmp_path / "in", retrieve=way)
            assert refusal.value.rule == "duplicate-instance"

    def test_where_it_does_not_say_of_what_kind_files_are_all_kinds_are_offered(
        self, settings, study, tmp_path
    ):
        """They are more than the 128 contexts of an association."""
        with Misbehaving(settings, study, hidden=True) as pacs:
            assert len(self.fetch(settings, study, tmp_path / "in", retrieve="get")) == 5
        assert len(list(dimse._in_turn([""]))) == 3
        assert all(len(contexts) <= 127 for contexts in dimse._in_turn([""]))
        assert len(pacs.asked) == 1

    @pytest.mark.parametrize(("told", "wanted"), [("CT", "CT"), ("CT\\SR", "SR")])
    def test_a_study_is_found_by_each_of_its_modalities(self, settings, study, told, wanted):
        day = date(2024, 1, 1)
        with Misbehaving(settings, study, modalities=told), archive(settings) as source:
            assert len(list(source.find(Wanted(query=Query(wanted, day, day))))) == 1
            assert list(source.find(Wanted(query=Query("MR", day, day)))) == []

    def test_one_that_does_not_tell_modalities_cannot_be_queried(self, settings, study):
        day = date(2024, 1, 1)
        with (
            Misbehaving(settings, study, modalities=""),
            archive(settings) as source,
            pytest.raises(RunError, match="does not tell the modalities"),
        ):
            list(source.find(Wanted(query=Query("CT", day, day))))

    @both_ways
    def test_nobody_there_is_told(self, settings, study, way, tmp_path):
        with pytest.raises(RunError, match=f"localhost:{settings.port} does not answer"):
            self.fetch(settings, study, tmp_path / "in", retrieve=way)

    def test_one_that_falls_silent_within_a_message_is_given_up(self, settings, study, tmp_path):
        """The proxy holds the rest of an answer back."""
        with (
            Misbehaving(settings, study),
            Proxy(settings.port, breaks=[400] * 9, holds=True) as proxy,
            pytest.raises(RunError, match="cannot be asked"),
        ):
            self.fetch(settings, study, tmp_path / "in", port=proxy.port, timeout=1, retrieve="get")


class TestNoAnswerIsLost:
    @pytest.fixture
    def busy(self, monkeypatch):
        """What is now and then so is so all the while: pynetdicom's thread does not wait for us."""

        class NeverClear(threading.Event):
            def clear(self):
                pass

        paused = property(lambda _: True, lambda *_: None)
        monkeypatch.setattr("pynetdicom.association.Association._is_paused", paused, raising=False)
        monkeypatch.setattr("pynetdicom.association.threading", SimpleNamespace(**vars(threading)))
        monkeypatch.setattr("pynetdicom.association.threading.Event", NeverClear)

    def lost(self, pacs):
        """Whether any is; the last answer of a question is waited for in vain."""
        with archive(pacs.dimse(timeout=1)) as source:
            try:
                return any(len(source.listed(study.uid)) < study.slices for study in pacs.studies)
            except DroppedError:
                return True

    @pytest.mark.attack(LOST, held_by="an association whose own thread waits until we are done")
    def test_none_is(self, pacs, busy):
        assert not self.lost(pacs)

    @pytest.mark.mutant(LOST, "leaves it to pynetdicom who takes an answer")
    def test_pynetdicom_alone_loses_some(self, pacs, busy, monkeypatch):
        @contextmanager
        def disturbed(_):
            yield

        monkeypatch.setattr(dimse, "undisturbed", disturbed)
        assert self.lost(pacs)
