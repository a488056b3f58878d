"""DICOMweb alone: archives that are busy, break off, do not end, or send what is not theirs to send."""

import threading
import time
import traceback
from types import SimpleNamespace
from typing import ClassVar

import pytest
import requests
from proxy import Proxy
from web_archive import WebArchive
from whole_files import data_set, data_sets, fetched

from client_app.data import uid as uid_module
from client_app.data.pacs import answers, dicomweb, web
from client_app.data.pacs import inbox as inbox_module
from client_app.data.pacs.archive import archive
from client_app.data.pacs.settings import DicomwebSettings
from client_app.data.pacs.source import Wanted
from client_app.data.refusal import Refused
from federation.errors import ConfigError, DataError, RunError, WardroundError
from federation.schema import validated
from simulation.hospital.ct_series import encoded, planted, studies

NOT_ASKED = "studies that an archive gives and nobody asked for"
PATHS = "a path for a UID, from the archive"
NAMED = "identifiers in errors"
HALF = "half a file that is taken for a whole one"
NO_END = "a body without an end"
NOTHING = "an answer that has no end and unpacks to nothing"
ELSEWHERE = "a redirection to another host"


@pytest.fixture
def made():
    return studies(3, slices=4)


def settings(url, **changes):
    return DicomwebSettings.model_validate(
        {"url": url, "retries": 1, "timeout": 5, "instance_mib": 1} | changes
    )


def fetch(archive_, study, folder, **changes):
    with archive(settings(archive_.url, **changes)) as source_:
        (ref,) = source_.find(Wanted(accessions=(study.accession,)))
        return list(source_.fetch(ref, folder))


class TestBusy:
    def test_it_waits_as_long_as_it_is_told_to(self, made, tmp_path):
        with WebArchive(made, busy=[(429, {"Retry-After": "1"})]) as web_archive:
            begun = time.monotonic()
            fetch(web_archive, made[0], tmp_path / "in")
            assert time.monotonic() - begun >= 1
        assert fetched(tmp_path / "in") == data_sets(made[:1])

    def test_no_archive_has_it_wait_for_ever(self, made, tmp_path, monkeypatch):
        monkeypatch.setattr(web, "_LONGEST_PAUSE", 1)
        with WebArchive(made, busy=[(503, {"Retry-After": "86400"})]) as web_archive:
            assert len(fetch(web_archive, made[0], tmp_path / "in")) == 4

    @pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
    def test_one_that_stays_busy_is_given_up(self, made, tmp_path, status):
        with (
            WebArchive(made, busy=[(status, {})] * 9) as web_archive,
            pytest.raises(RunError, match=f"cannot be asked .HTTP status {status}"),
        ):
            fetch(web_archive, made[0], tmp_path / "in")
        assert len(web_archive.asked) == 2

    @pytest.mark.parametrize("status", [400, 401, 403, 404])
    def test_one_that_says_no_is_asked_once(self, made, tmp_path, status):
        with (
            WebArchive(made, busy=[(status, {})] * 9) as web_archive,
            pytest.raises(RunError, match=f"says no .HTTP status {status}"),
        ):
            fetch(web_archive, made[0], tmp_path / "in")
        assert len(web_archive.asked) == 1


class TestBrokenOff:
    @pytest.mark.attack(HALF, held_by="a name that a file is given when it is whole")
    def test_what_came_is_kept_and_only_the_rest_is_asked_for_again(self, made, tmp_path):
        study = made[0]
        size = len(encoded(study.instance(0)))
        with WebArchive(made, cut=[int(2.5 * size), 100]) as web_archive:
            assert len(fetch(web_archive, study, tmp_path / "in")) == 4
        assert fetched(tmp_path / "in") == data_sets([study])
        instance = f"/studies/{study.uid}/series/{study.series_uid()}/instances/{{}}"
        last = [instance.format(study.sop_uid(place)) for place in (2, 3)]
        assert web_archive.asked[-4:] == [f"/studies/{study.uid}", last[0], *last]

    @pytest.mark.mutant(HALF, "writes files where they belong from the beginning")
    def test_half_a_file_would_count_as_one(self, made, tmp_path, monkeypatch):
        def in_place(inbox, content, announced=None):
            uid = inbox.missing[0].uid
            with inbox._path(uid).open("wb") as file:
                for chunk in content:
                    file.write(chunk)

        monkeypatch.setattr(inbox_module.Inbox, "take", in_place)
        size = len(encoded(made[0].instance(0)))
        with WebArchive(made, cut=[int(2.5 * size)]) as web_archive:
            assert len(fetch(web_archive, made[0], tmp_path / "in")) == 4
        assert fetched(tmp_path / "in") != data_sets(made[:1])

    def test_orthanc_behind_a_proxy_that_drops_the_connection(self, pacs, tmp_path):
        with Proxy(pacs.orthanc.http, breaks=[9000, 700, 100], after=b"multipart/related") as proxy:
            settings_ = pacs.dicomweb(url=f"http://localhost:{proxy.port}/dicom-web")
            with archive(settings_) as source_:
                (ref,) = source_.find(Wanted(accessions=(pacs.studies[4].accession,)))
                assert len(list(source_.fetch(ref, tmp_path))) == 12
            assert not proxy.breaks
        assert fetched(tmp_path) == data_sets(pacs.studies[4:5])

    def test_in_the_end_it_says_how_many_are_missing(self, made, tmp_path):
        size = len(encoded(made[0].instance(0)))
        with (
            WebArchive(made, cut=[int(1.5 * size), *[10] * 9]) as web_archive,
            pytest.raises(RunError) as error,
        ):
            fetch(web_archive, made[0], tmp_path / "in")
        assert str(error.value).startswith(
            "3 of a study's 4 files have not come after retries=1 (its answer ends"
        )
        assert len(fetched(tmp_path / "in")) == 1
        assert not list(tmp_path.rglob(".part-*"))

    def test_one_that_falls_silent_is_given_up(self, made, tmp_path):
        with WebArchive(made, slow=3) as web_archive, pytest.raises(RunError):
            fetch(web_archive, made[0], tmp_path / "in", timeout=0.5, retries=0)

    def test_one_that_drips_is_given_up(self, made, tmp_path):
        with (
            WebArchive(made, endless="part", slow=0.2) as web_archive,
            pytest.raises(RunError, match="took longer than instance_seconds"),
        ):
            fetch(web_archive, made[0], tmp_path / "in", instance_seconds=0.5, retries=0)

    def test_a_file_without_multipart_is_taken_too(self, made, tmp_path):
        size = len(encoded(made[0].instance(0)))
        with WebArchive(made, bare=True, cut=[int(2.5 * size)]) as web_archive:
            assert len(fetch(web_archive, made[0], tmp_path / "in")) == 4


class TestWithoutAnEnd:
    @pytest.mark.attack(NO_END, held_by="limits on a file, on the parts that are read, and on an answer")
    def test_a_file_is_broken_off_where_it_is_too_large(self, made, tmp_path):
        with WebArchive(made, endless="part") as web_archive, pytest.raises(Refused) as refusal:
            fetch(web_archive, made[0], tmp_path / "in")
        assert refusal.value.rule == "too-large"
        assert web_archive.sent < 32 << 20
        assert not list(tmp_path.rglob(".part-*"))

    @pytest.mark.attack(NO_END, held_by="limits on a file, on the parts that are read, and on an answer")
    def test_no_more_parts_are_read_than_were_asked_for(self, made, tmp_path):
        with WebArchive(made, endless="parts") as web_archive:
            assert len(fetch(web_archive, made[0], tmp_path / "in")) == 4
        assert web_archive.sent < 32 << 20

    @pytest.mark.attack(NO_END, held_by="limits on a file, on the parts that are read, and on an answer")
    def test_an_answer_that_is_too_long_is_broken_off(self, made, tmp_path, monkeypatch):
        monkeypatch.setattr(web, "_LONGEST_ANSWER", 1 << 20)
        with (
            WebArchive(made, endless="json") as web_archive,
            pytest.raises(RunError, match="cannot be asked"),
        ):
            fetch(web_archive, made[0], tmp_path / "in")
        assert web_archive.sent < 32 << 20

    @pytest.mark.mutant(NO_END, "takes whatever comes")
    def test_without_limits_it_would_go_on(self, made, tmp_path, monkeypatch):
        """Sixteen times as much as may be; there would be no end to wait for."""
        taken = []

        def write(_self, _scrap, content):
            for chunk in content:
                taken.append(len(chunk))
                if sum(taken) > 16 << 20:
                    raise Refused("too-large", "the test's own end")

        monkeypatch.setattr(inbox_module.Inbox, "_write", write)
        with WebArchive(made, endless="part") as web_archive, pytest.raises(Refused):
            fetch(web_archive, made[0], tmp_path / "in", retries=0)
        assert sum(taken) > 16 << 20

    @pytest.mark.attack(NOTHING, held_by="what is packed is not read")
    def test_what_is_packed_is_refused_by_name(self, made, tmp_path):
        with (
            WebArchive(made, endless="packed") as web_archive,
            pytest.raises(RunError, match="packs its answers"),
        ):
            fetch(web_archive, made[0], tmp_path / "in")

    @pytest.mark.mutant(NOTHING, how="it is unpacked, and limits count what comes out")
    def test_unpacked_it_would_be_read_without_end(self, made):
        with WebArchive(made, endless="packed") as web_archive:
            answer = requests.get(web_archive.url, stream=True, timeout=60)
            pieces = []
            reading = threading.Thread(target=lambda: pieces.append(answer.raw.read1(decode_content=True)))
            reading.start()
            while web_archive.sent < 32 << 20:
                time.sleep(0.01)
            assert not pieces
        reading.join()

    def test_pages_that_repeat_are_read_once(self, made, tmp_path):
        with WebArchive(made, stuck=True) as web_archive:
            assert len(fetch(web_archive, made[0], tmp_path / "in")) == 4


class TestNotAskedFor:
    def found(self, web_archive, accession):
        with archive(settings(web_archive.url)) as source_:
            return [ref.accession for ref in source_.find(Wanted(accessions=(accession,)))]

    @pytest.mark.attack(NOT_ASKED, held_by="answers that are held against the question")
    def test_of_all_studies_only_the_one_is_found(self, made):
        with WebArchive(made, deaf=True) as web_archive:
            assert self.found(web_archive, made[1].accession) == [made[1].accession]

    @pytest.mark.mutant(NOT_ASKED, "believes that answers are to the question")
    def test_one_that_believes_would_find_them_all(self, made, monkeypatch):
        monkeypatch.setattr(answers.Question, "asked_for", lambda *_: True)
        with WebArchive(made, deaf=True) as web_archive:
            assert len(self.found(web_archive, made[1].accession)) == 3

    def test_an_archive_that_gives_without_end_is_named(self, made, monkeypatch):
        monkeypatch.setattr(answers, "_MOST_UNASKED", 1)
        with WebArchive(made, deaf=True) as web_archive, pytest.raises(RunError, match="AccessionNumber"):
            self.found(web_archive, made[0].accession)

    def test_a_file_of_another_study_is_not_taken(self, made, tmp_path):
        study, other = made[0], encoded(made[1].instance(0))
        with (
            WebArchive(made, files={study.sop_uid(1): [other]}) as web_archive,
            pytest.raises(Refused) as refusal,
        ):
            fetch(web_archive, study, tmp_path / "in")
        assert (refusal.value.rule, len(fetched(tmp_path / "in"))) == ("not-asked-for", 3)

    def test_what_is_no_dicom_is_not_taken(self, made, tmp_path):
        study = made[0]
        for wrong in (b"", b"<html>Please log in</html>", encoded(study.instance(1))[:200]):
            with (
                WebArchive(made, files={study.sop_uid(1): [wrong]}) as web_archive,
                pytest.raises(Refused) as refusal,
            ):
                fetch(web_archive, study, tmp_path / "in", retries=0)
            assert refusal.value.rule in ("not-dicom", "not-asked-for")
        assert len(fetched(tmp_path / "in")) == 3

    def test_two_files_of_one_uid_are_refused_and_stay_so(self, made, tmp_path):
        study = made[0]
        other = study.instance(1)
        other.PixelData = bytes(len(other.PixelData))
        both = [encoded(study.instance(1)), encoded(other)]
        for files in ({study.sop_uid(1): both}, {}):
            with WebArchive(made, files=files) as web_archive, pytest.raises(Refused) as refusal:
                fetch(web_archive, study, tmp_path / "in")
            assert refusal.value.rule == "duplicate-instance"

    def test_the_same_file_twice_is_one(self, made, tmp_path):
        study = made[0]
        files = {study.sop_uid(1): [encoded(study.instance(1))] * 2}
        with WebArchive(made, files=files) as web_archive:
            assert len(fetch(web_archive, study, tmp_path / "in")) == 4


class TestPaths:
    def fetch_with_a_path(self, study, folder):
        trick = "../../outside"
        file = study.instance(1)
        file.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
        content = encoded(file).replace(
            study.sop_uid(1).encode().ljust(36, b"\0"), trick.encode().ljust(36, b"\0")
        )
        assert trick.encode() in content
        with WebArchive(
            [study], uids={study.sop_uid(1): trick}, files={study.sop_uid(1): [content]}
        ) as web_archive:
            fetch(web_archive, study, folder)

    @pytest.mark.attack(PATHS, held_by="UIDs of digits and dots, and names that are hashes")
    def test_it_leads_nowhere(self, made, tmp_path):
        folder = tmp_path / "store" / "in"
        with pytest.raises(Refused) as refusal:
            self.fetch_with_a_path(made[0], folder)
        assert refusal.value.rule == "bad-uid"
        assert not list(tmp_path.glob("outside*"))

    @pytest.mark.mutant(PATHS, "names files by their UIDs, as they come")
    def test_a_name_from_the_archive_would_lead_out(self, made, tmp_path, monkeypatch):
        monkeypatch.setattr(uid_module, "_UID", SimpleNamespace(fullmatch=lambda _: True))
        monkeypatch.setattr(
            inbox_module.Inbox, "_path", lambda self, uid: self._folder / f"{uid}.dcm", raising=False
        )
        self.fetch_with_a_path(made[0], tmp_path / "store" / "in")
        assert list(tmp_path.glob("outside*"))

    @pytest.mark.attack(PATHS, held_by="UIDs of digits and dots, and names that are hashes")
    def test_names_are_hashes_whatever_is_a_uid(self, made, tmp_path, monkeypatch):
        monkeypatch.setattr(uid_module, "_UID", SimpleNamespace(fullmatch=lambda _: True))
        self.fetch_with_a_path(made[0], tmp_path / "store" / "in")
        assert len(list((tmp_path / "store" / "in").glob("*.dcm"))) == 4
        assert not list(tmp_path.glob("outside*"))

    def test_a_study_under_such_a_uid_is_left_out_and_the_rest_goes_on(self, made):
        told = []
        wanted = Wanted(studies=tuple(study.uid for study in made))
        with (
            WebArchive(made, uids={made[1].uid: "../../x"}, deaf=True) as web_archive,
            archive(settings(web_archive.url), told.append) as source_,
        ):
            assert len(list(source_.find(wanted))) == 2
        assert told[-1].left_out > 0


class TestErrors:
    CASES: ClassVar = {
        "refuses": {"busy": [(403, {})] * 9},
        "is busy": {"busy": [(500, {})] * 9},
        "sends elsewhere": {"moved": "http://127.0.0.1:1"},
        "breaks off": {"cut": [900] * 99},
        "is deaf": {"deaf": True},
    }

    def said(self, made, case, folder):
        with WebArchive(made, **self.CASES[case]) as web_archive:
            try:
                fetch(web_archive, made[0], folder, retries=0)
            except Exception as error:  # its mutants raise others
                chain = traceback.format_exception(error)
                return [type(error), str(error.__context__), str(error.__cause__), *chain]
        return []

    def named(self, made, said):
        everybody = {text for study in made for text in planted(study)}
        return {text for text in everybody if text in " ".join(map(str, said))}

    @pytest.mark.attack(NAMED, held_by="errors of our own, which keep nothing of those of libraries")
    @pytest.mark.parametrize("case", CASES)
    def test_they_name_nobody(self, made, case, tmp_path, monkeypatch):
        monkeypatch.setattr(answers, "_MOST_UNASKED", 1)
        kind, *rest = self.said(made, case, tmp_path / "in")
        assert issubclass(kind, WardroundError)
        assert self.named(made, rest) == set()

    @pytest.mark.mutant(NAMED, "lets requests' own errors out")
    def test_those_of_requests_would(self, made, tmp_path, monkeypatch):
        monkeypatch.setattr(dicomweb, "attempt", lambda do, *some, **named: do(*some, **named))
        assert self.named(made, self.said(made, "refuses", tmp_path / "in")) == {made[0].accession}


class TestConnection:
    @pytest.mark.attack(ELSEWHERE, held_by="requests that follow nobody")
    def test_it_is_not_followed(self, made, tmp_path):
        with WebArchive(made) as other, WebArchive(made, moved=other.url) as web_archive:
            with pytest.raises(RunError):
                fetch(web_archive, made[0], tmp_path / "in", retries=0)
            assert other.asked == []

    @pytest.mark.mutant(ELSEWHERE, "follows, as requests does by default")
    def test_by_default_it_would_be(self, made, tmp_path, monkeypatch):
        made_by = web.session

        def follows(settings_):
            session = made_by(settings_)
            session.max_redirects = 30
            return session

        monkeypatch.setattr(dicomweb, "session", follows)
        with WebArchive(made) as other, WebArchive(made, moved=other.url) as web_archive:
            fetch(web_archive, made[0], tmp_path / "in", retries=0)
            assert other.asked

    def test_proxies_and_passwords_of_the_environment_are_not_used(self, made, tmp_path, monkeypatch):
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        monkeypatch.setenv("no_proxy", "")
        with WebArchive(made) as web_archive:
            assert len(fetch(web_archive, made[0], tmp_path / "in")) == 4

    @pytest.mark.parametrize(
        ("content", "mode", "said"),
        [
            ("Basic a:b", 0o644, "chmod 600"),
            ("a:b", 0o600, "must hold one line"),
            ("Bearer", 0o600, "must hold one line"),
            (b"\xff\xfe", 0o600, "no text"),
        ],
    )
    def test_credentials_are_a_file_of_their_owner(self, tmp_path, content, mode, said):
        file = tmp_path / "credentials"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        file.chmod(mode)
        with pytest.raises((ConfigError, DataError), match=said):
            archive(settings("http://127.0.0.1:1", credentials=file))

    def test_a_token_is_sent(self, made, tmp_path):
        file = tmp_path / "token"
        file.write_text("Bearer abc\n")
        file.chmod(0o600)
        assert (
            web.session(settings("http://127.0.0.1:1", credentials=file)).headers["Authorization"]
            == "Bearer abc"
        )

    def test_credentials_do_not_go_in_the_clear(self, tmp_path):
        values = {
            "kind": "dicomweb",
            "url": "http://pacs.example/dicom-web",
            "credentials": str(tmp_path / "c"),
        }
        with pytest.raises(ConfigError, match="in the clear; give an https"):
            validated(DicomwebSettings, values, "pacs")


def test_files_are_as_they_were_sent(made, tmp_path):
    """To the byte, with the file meta information too."""
    with WebArchive(made) as web_archive:
        paths = fetch(web_archive, made[0], tmp_path)
    sent = {encoded(file) for file in made[0].instances()}
    assert {path.read_bytes() for path in paths} == sent
    assert {data_set(content) for content in sent} == set(data_sets(made[:1]))
