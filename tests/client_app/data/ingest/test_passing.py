"""What the machine could not do this time is done the next time by itself; what a file is stays refused."""

import errno
import math
import os
import signal

import pytest
from pydicom.uid import RLELossless

from client_app.data.deidentify import pixels as cleaning
from client_app.data.deidentify.options import Options
from client_app.data.dicom import pixels as reading
from client_app.data.dicom.decoder import Decoder
from client_app.data.fhir.judge import Case
from client_app.data.ingest import run as run_module
from client_app.data.ingest import shelf as shelf_module
from client_app.data.ingest import study as study_module
from client_app.data.ingest.incoming import Incoming
from client_app.data.ingest.journal import Journal
from client_app.data.ingest.run import CohortIngest
from client_app.data.ingest.study import read_study
from client_app.data.keys import Pseudonyms
from client_app.data.pacs.archive import archive
from client_app.data.pacs.settings import FolderSettings
from client_app.data.refusal import Refused
from client_app.data.store.writer import StoreWriter
from federation.errors import StorageError
from federation.site_store import open_store
from simulation.hospital.ct_series import CtStudy, Patient, encoded

KEYS = Pseudonyms(bytes(32))
FOR_GOOD = "a fault of the machine keeps a study out for good"
HOSTILE = "files that make their decoder hang or die each time hold the ingest up"


class Faulty(Decoder):
    """Its real process gets a signal before each of some frames: it stops for ever, or dies."""

    def __init__(self):
        super().__init__(seconds=0.3)
        self.signal, self.frames, self.met = signal.SIGKILL, set(), 0

    def frame(self, layout, content):
        if content in self.frames:
            self.met += 1
            self._running()
            self._process.send_signal(self.signal)
            if self.signal == signal.SIGKILL:
                self._process.wait()
        return super().frame(layout, content)

    def fails_at(self, study):
        self.frames = {content for file in study.instances() for content in _contents(file)}


def _contents(file):
    return cleaning.generate_frames(file.PixelData, number_of_frames=1)


@pytest.fixture
def decoder(monkeypatch):
    with Faulty() as made:
        for module in (cleaning, reading):
            monkeypatch.setattr(module, "shared_decoder", lambda: made)
        yield made


class Hospital:
    """A folder of compressed studies, each of a patient, and an ingest of them."""

    def __init__(self, folder, series=1):
        self.folder = folder
        self.studies = [CtStudy(n, Patient(n), 4, series=series, syntax=RLELossless) for n in range(3)]
        (folder / "dicom").mkdir()
        for study in self.studies:
            for number, file in enumerate(study.instances()):
                (folder / "dicom" / f"{study.number}-{number}.dcm").write_bytes(encoded(file))

    def pulls(self, again=False, patients=None):
        cases = [
            Case((patients or {}).get(study.number, study.patient.id), study.uid, {}, ())
            for study in self.studies
        ]
        with (
            Journal(self.folder / "ingest") as journal,
            StoreWriter(self.folder / "store") as store,
            archive(FolderSettings(folder=self.folder / "dicom")) as source,
        ):
            incoming = Incoming(self.folder / "ingest" / "incoming")
            run = CohortIngest(
                source, journal=journal, store=store, pseudonyms=KEYS, options=Options(), incoming=incoming
            )
            return run.take(cases, again=again)

    @property
    def stored(self):
        return {each.series for each in open_store(self.folder / "store").series}

    def series(self, *numbers):
        studies = [self.studies[number] for number in numbers]
        return {KEYS.uid(study.series_uid(n)) for study in studies for n in range(study.series)}


@pytest.fixture
def hospital(tmp_path):
    return Hospital(tmp_path)


def out_of_memory_at(monkeypatch, study):
    volume = study_module.volume

    def volume_of(instances):
        if str(instances[0].StudyInstanceUID) == KEYS.uid(study.uid):
            raise MemoryError
        return volume(instances)

    monkeypatch.setattr(study_module, "volume", volume_of)


def faults(hospital, decoder, monkeypatch, fault):
    """Three studies where the machine fails in the second, and once more where it does not."""
    second = hospital.studies[1]
    with monkeypatch.context() as patch:
        if fault == "no-memory":
            out_of_memory_at(patch, second)
        else:
            decoder.signal = signal.SIGSTOP if fault == "decoder-hung" else signal.SIGKILL
            decoder.fails_at(second)
        first = hospital.pulls()
        assert hospital.stored == hospital.series(0, 2)
    decoder.frames = set()
    return first, hospital.pulls()


@pytest.mark.attack(FOR_GOOD, held_by="refusals that say whether they may be the machine's")
@pytest.mark.parametrize("fault", ["decoder-hung", "decoder-died", "no-memory"])
def test_it_is_told_and_tried_again_by_the_next_ingest(hospital, decoder, monkeypatch, fault):
    first, then = faults(hospital, decoder, monkeypatch, fault)
    assert (first.broken, first.refused) == ({fault: 1}, {})
    assert (then.broken, then.refused) == ({}, {})
    assert hospital.stored == hospital.series(0, 1, 2)
    assert not [*(hospital.folder / "ingest" / "incoming").rglob("*.dcm")]


@pytest.mark.mutant(FOR_GOOD, how="what a decoder does is written down like what a file is")
def test_written_down_as_a_refusal_it_would_stay_out(hospital, decoder, monkeypatch):
    made = Refused.__init__
    monkeypatch.setattr(Refused, "__init__", lambda self, rule, reason, **_: made(self, rule, reason))
    _, then = faults(hospital, decoder, monkeypatch, "decoder-died")
    assert then.refused == {"decoder-died": 4, "incomplete-series": 1}
    assert hospital.stored == hospital.series(0, 2)


def test_what_a_file_is_stays_refused_until_somebody_says_again(hospital, decoder, monkeypatch):
    other = {1: "MRN-OF-SOMEBODY-ELSE"}
    assert hospital.pulls(patients=other).refused == {"other-patient": 4}
    looked = []
    monkeypatch.setattr(run_module, "read_study", lambda *all_: looked.append(1) or read_study(*all_))
    assert hospital.pulls(patients=other).refused == {"other-patient": 4}
    assert not looked
    hospital.pulls(patients=other, again=True)
    assert looked == [1]


@pytest.mark.parametrize("step", [1, 4, 6, 8, 10, 12])
def test_a_disk_that_is_full_at_any_step_ends_the_ingest_and_refuses_nothing(hospital, monkeypatch, step):
    left, sync = [step], os.fsync

    def full(descriptor):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="No space left"):
            hospital.pulls()
    after = hospital.pulls()
    assert (after.refused, after.broken) == ({}, {})
    assert hospital.stored == hospital.series(0, 1, 2)


@pytest.mark.attack(HOSTILE, held_by="one try a series and run, and an end to them in a study")
@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
def test_a_hostile_study_costs_one_try_a_run_and_the_others_come_in(hospital, decoder, how):
    decoder.signal = how
    decoder.fails_at(hospital.studies[1])
    for run in (1, 2, 3):
        assert sum(hospital.pulls().broken.values()) == 1
        assert decoder.met == run
        assert hospital.stored == hospital.series(0, 2)


def tries_in_a_study_of_five_series(folder, decoder):
    hospital = Hospital(folder, series=5)
    decoder.fails_at(hospital.studies[1])
    assert hospital.pulls().broken == {"decoder-died": 1}
    assert hospital.stored == hospital.series(0, 2)
    return decoder.met


def at_most(monkeypatch, number):
    for module in (study_module, shelf_module):
        monkeypatch.setattr(module, "MOST_FAULTS", number)


@pytest.mark.deployment  # for its time
@pytest.mark.attack(HOSTILE, held_by="one try a series and run, and an end to them in a study")
def test_a_study_of_many_such_series_is_left_for_the_next_time(tmp_path, decoder, monkeypatch):
    at_most(monkeypatch, 2)
    assert tries_in_a_study_of_five_series(tmp_path, decoder) == 2


@pytest.mark.deployment  # for its time
@pytest.mark.mutant(HOSTILE, how="each series of a study is tried, however many have failed")
def test_without_an_end_each_of_its_series_is_tried(tmp_path, decoder, monkeypatch):
    at_most(monkeypatch, math.inf)
    assert tries_in_a_study_of_five_series(tmp_path, decoder) == 5


def test_of_a_study_with_one_such_series_the_others_come_in(tmp_path, decoder):
    hospital = Hospital(tmp_path, series=2)
    second = hospital.studies[1]
    decoder.frames = set(_contents(second.instance(2, 1)))
    assert hospital.pulls().broken == {"decoder-died": 1}
    assert hospital.stored == hospital.series(0, 1, 2) - {KEYS.uid(second.series_uid(1))}
