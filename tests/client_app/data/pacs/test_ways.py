"""What all three ways to an archive have in common: the right studies, byte for byte, and in silence."""

import json
import logging
import socket
import ssl
from dataclasses import dataclass, replace
from datetime import date
from hashlib import sha256
from pathlib import Path

import pytest
from certificates import Authority, Usage
from orthanc import OWN_TITLE, WAYS, Pacs, skip_without_orthanc, start_pacs
from proxy import Proxy
from pydicom import dcmread
from pydicom.uid import ImplicitVRLittleEndian, JPEGLSLossless, RLELossless, SecondaryCaptureImageStorage
from requests import Session
from whole_files import data_sets, fetched

from client_app.data.pacs import dimse
from client_app.data.pacs import tls as tls_module
from client_app.data.pacs.archive import archive
from client_app.data.pacs.source import Query, StudyRef, Wanted
from federation.errors import ConfigError, RunError
from simulation.hospital.ct_series import CtStudy, Patient, all_bytes, encoded, planted, studies
from simulation.hospital.orthanc import Keys, start_orthanc
from simulation.programs import Programs, free_ports

IN_LOGS = "identifiers in the logs of the libraries that ask"
SILENT = "somebody who connects to our port and says nothing"
A_FALSE_ARCHIVE = "somebody who stands in for the PACS"
FIRST_DAYS = {"since": date(2024, 1, 1), "until": date(2024, 3, 31)}

every_way = pytest.mark.parametrize("way", WAYS)


def fetch_all(settings, wanted, folder, told=lambda _: None):
    """Each study into a folder of its own; how many files were yielded."""
    with archive(settings, told) as source:
        return sum(
            len(list(source.fetch(ref, folder / sha256(ref.uid.encode()).hexdigest()[:8])))
            for ref in source.find(wanted)
        )


@pytest.fixture
def special(tmp_path):
    """A PACS of the test's own, with studies that are encoded in one of several ways each, and no other."""
    with Programs(tmp_path / "special") as programs:
        (tmp_path / "special").mkdir()
        syntaxes = (RLELossless, JPEGLSLossless, ImplicitVRLittleEndian)
        yield start_pacs(
            programs,
            [CtStudy(40 + n, Patient(n), slices=3, series=2, syntax=s) for n, s in enumerate(syntaxes)],
        )


class TestFind:
    @every_way
    def test_accession_numbers_give_their_studies_and_no_other(self, pacs, way):
        wanted = Wanted(accessions=("ACC40003", "ACC40001", "ACC99999", "ACC40003"))
        with archive(pacs.settings(way)) as source:
            found = list(source.find(wanted))
        assert [ref.uid for ref in found] == [pacs.studies[3].uid, pacs.studies[1].uid]
        third = pacs.studies[3]
        assert found[0] == StudyRef(third.uid, third.accession, 12)

    @every_way
    def test_uids_give_their_studies(self, pacs, way):
        uids = (pacs.studies[7].uid, "1.2.3.4")
        with archive(pacs.settings(way)) as source:
            assert [ref.accession for ref in source.find(Wanted(studies=uids))] == ["ACC40007"]

    @every_way
    def test_a_query_gives_what_was_taken_in_its_days(self, pacs, way):
        with archive(pacs.settings(way)) as source:
            found = {ref.uid for ref in source.find(Wanted(query=Query("CT", **FIRST_DAYS)))}
            none = [
                *source.find(Wanted(query=Query("MR", **FIRST_DAYS))),
                *source.find(Wanted(query=Query("CT", **FIRST_DAYS, description="abdomen"))),
            ]
            words = {
                ref.uid for ref in source.find(Wanted(query=Query("CT", **FIRST_DAYS, description="THORAX")))
            }
        assert (
            found == words == {study.uid for study in pacs.studies if "20240101" <= study.date <= "20240331"}
        )
        assert none == []

    @every_way
    def test_more_than_may_match_is_an_error_before_one_is_given(self, pacs, way):
        with (
            archive(pacs.settings(way)) as source,
            pytest.raises(RunError, match="more than 5 studies match"),
        ):
            next(source.find(Wanted(query=Query("CT", **FIRST_DAYS, at_most=5))))

    @every_way
    def test_whom_the_pacs_does_not_know_is_told_what_to_see_to(self, pacs, way, tmp_path):
        nobody = tmp_path / "credentials"
        nobody.write_text("Basic nobody:nothing")
        nobody.chmod(0o600)
        changes = {"credentials": nobody} if way == "dicomweb" else {"own_title": "NOBODY"}
        with (
            archive(pacs.settings(way, **changes)) as source,
            pytest.raises(RunError, match=r"AE title|says no"),
        ):
            list(source.find(Wanted(accessions=("ACC40001",))))


class TestFetch:
    @every_way
    def test_all_files_come_byte_for_byte(self, pacs, way, tmp_path):
        told = []
        uids = tuple(study.uid for study in pacs.studies)
        assert fetch_all(pacs.settings(way), Wanted(studies=uids), tmp_path, told.append) == 240
        assert fetched(tmp_path) == data_sets(pacs.studies)
        assert (told[-1].studies, told[-1].instances, told[-1].left_out) == (20, 240, 0)
        assert [one.instances for one in told] == sorted(one.instances for one in told)
        assert not list(tmp_path.rglob(".part-*"))

    @every_way
    def test_what_is_there_is_not_fetched_again(self, pacs, way, tmp_path):
        wanted, told = Wanted(studies=(pacs.studies[2].uid,)), []
        fetch_all(pacs.settings(way), wanted, tmp_path)
        first, second, *_ = tmp_path.rglob("*.dcm")
        first.unlink()
        before = second.stat()
        assert fetch_all(pacs.settings(way), wanted, tmp_path, told.append) == 12
        assert told[-1].instances == 1
        assert (second.stat().st_mtime_ns, second.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
        assert fetched(tmp_path) == data_sets(pacs.studies[2:3])

    @every_way
    def test_compressed_files_come_as_they_are_stored(self, special, way, tmp_path):
        uids = tuple(study.uid for study in special.studies)
        fetch_all(special.settings(way), Wanted(studies=uids), tmp_path / "to")
        assert fetched(tmp_path / "to") == data_sets(special.studies)
        syntaxes = {dcmread(path).file_meta.TransferSyntaxUID for path in (tmp_path / "to").rglob("*.dcm")}
        assert syntaxes == {study.syntax for study in special.studies}

    @every_way
    def test_what_is_no_image_is_left_out(self, special, way, tmp_path):
        """A screenshot in a study, and one in a series between slices."""
        study, told = special.studies[0], []
        for place, series in ((0, study.series_uid(0)), (1, study.series_uid(5))):
            shot = replace(study, syntax=ImplicitVRLittleEndian).instance(place)
            shot.SOPInstanceUID = shot.file_meta.MediaStorageSOPInstanceUID = study.sop_uid(place, 5)
            shot.SOPClassUID = shot.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
            shot.SeriesInstanceUID = series
            special.orthanc.store([encoded(shot)])
        fetch_all(special.settings(way), Wanted(studies=(study.uid,)), tmp_path / "to", told.append)
        assert fetched(tmp_path / "to") == data_sets([study])
        assert told[-1].left_out == 2

    def test_names_of_files_tell_nobody(self, pacs, tmp_path):
        fetch_all(pacs.dicomweb(), Wanted(studies=(pacs.studies[0].uid,)), tmp_path)
        names = " ".join(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
        assert not [text for text in planted(pacs.studies[0]) if text in names]


class TestInSilence:
    def everything_logged(self, pacs, way, caplog, tmp_path):
        caplog.set_level(logging.DEBUG)
        wanted = Wanted(accessions=(pacs.studies[3].accession,))
        assert fetch_all(pacs.settings(way), wanted, tmp_path) == 12
        return {text for text in planted(pacs.studies[3]) if text in caplog.text}

    @pytest.mark.attack(
        IN_LOGS, held_by="silenced loggers of urllib3, dicomweb-client, pynetdicom and pydicom"
    )
    @every_way
    def test_nobody_is_named_at_any_level(self, pacs, way, caplog, tmp_path):
        assert self.everything_logged(pacs, way, caplog, tmp_path) == set()

    @pytest.mark.mutant(IN_LOGS, "lets the libraries log")
    @every_way
    def test_the_libraries_themselves_would_name_people(self, pacs, way, caplog, tmp_path, monkeypatch):
        for name in ("urllib3", "dicomweb_client", "pynetdicom", "pydicom"):
            monkeypatch.setattr(logging.getLogger(name), "level", logging.NOTSET)
            logging.getLogger(name).manager._clear_cache()
        monkeypatch.setattr("client_app.data.pacs.archive.silence_libraries", lambda: None)
        monkeypatch.setattr("pynetdicom._config.LOG_REQUEST_IDENTIFIERS", True)
        named = self.everything_logged(pacs, way, caplog, tmp_path)
        monkeypatch.undo()
        logging.getLogger().manager._clear_cache()
        assert {pacs.studies[3].accession, pacs.studies[3].uid} <= named


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    """An authority, with keys of the PACS, of ours, and of a stranger's own authority; a PACS with TLS."""
    skip_without_orthanc()
    folder = tmp_path_factory.mktemp("tls")
    authority, stranger = Authority("Northtown"), Authority("Northtown")
    for name, made in (("ca", authority), ("stranger-ca", stranger)):
        (folder / f"{name}.pem").write_bytes(made.pem)
    for name, made in (("pacs", authority), ("own", authority), ("stranger", stranger)):
        station(made, name).write(folder, name)
    with Programs(folder) as programs:
        (own_port,) = free_ports(1)
        keys = Keys(folder / "pacs.crt", folder / "pacs.key", folder / "ca.pem")
        orthanc = start_orthanc(programs, "orthanc", {OWN_TITLE: own_port}, keys)
        made = studies(2, slices=4)
        orthanc.store(all_bytes(made))
        credentials = folder / "credentials"
        credentials.write_text("Basic " + ":".join(orthanc.user))
        credentials.chmod(0o600)
        front = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        front.load_cert_chain(keys.certificate, keys.key)
        front.load_verify_locations(keys.authority)
        front.verify_mode = ssl.CERT_REQUIRED
        with Proxy(orthanc.http, front) as proxy:
            yield InHospital(orthanc, made, own_port, str(credentials), folder, proxy.port)


@dataclass(frozen=True)
class InHospital(Pacs):
    """A PACS with TLS; its web server is behind a proxy.

    Attributes:
        folder: of the keys.
        front: the proxy's port.
    """

    folder: Path
    front: int

    def over_tls(self, way, authority="ca", own="own", **changes):
        names = {"authority": f"{authority}.pem", "certificate": f"{own}.crt", "key": f"{own}.key"}
        tls = {key: str(self.folder / name) for key, name in names.items()}
        url = {"url": f"https://localhost:{self.front}/dicom-web"} if way == "dicomweb" else {}
        return self.settings(way, tls=tls, **url, **changes)


def station(authority, name):
    """DICOM stations are clients and servers with one certificate."""
    usage = [Usage.SERVER_AUTH, Usage.CLIENT_AUTH]
    return authority._leaf(name, usage, ("localhost", "127.0.0.1"), expired=False)


class TestTls:
    @every_way
    def test_all_of_it_comes_over_tls_with_certificates_on_both_sides(self, hospital, way, tmp_path):
        wanted = Wanted(studies=tuple(study.uid for study in hospital.studies))
        fetch_all(hospital.over_tls(way), wanted, tmp_path)
        assert fetched(tmp_path) == data_sets(hospital.studies)

    @pytest.mark.attack(A_FALSE_ARCHIVE, held_by="the hospital's authority, and no other")
    @every_way
    def test_an_archive_of_another_authority_is_not_asked(self, hospital, way):
        settings = hospital.over_tls(way, authority="stranger-ca", retries=0)
        with archive(settings) as source, pytest.raises(RunError, match="cannot be asked"):
            list(source.find(Wanted(accessions=("ACC40001",))))

    @pytest.mark.mutant(A_FALSE_ARCHIVE, "encrypts, whoever it is with")
    @pytest.mark.parametrize("way", ["dicomweb", "get"])
    def test_encryption_alone_would_ask_it(self, hospital, way, monkeypatch):

        def with_anybody(settings):
            context = tls_module.client_context(settings)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            return context

        monkeypatch.setattr(dimse, "client_context", with_anybody)
        monkeypatch.setattr(Session, "verify", property(lambda _: False, lambda *_: None), raising=False)
        monkeypatch.setattr("urllib3.connectionpool.warnings.warn", lambda *_, **__: None)
        with archive(hospital.over_tls(way, authority="stranger-ca")) as source:
            assert list(source.find(Wanted(accessions=("ACC40001",))))

    @every_way
    def test_the_archive_does_not_answer_another_certificate(self, hospital, way):
        with (
            archive(hospital.over_tls(way, own="stranger", retries=0)) as source,
            pytest.raises(RunError),
        ):
            list(source.find(Wanted(accessions=("ACC40001",))))

    @pytest.mark.attack(SILENT, held_by="an end to the time that a handshake may take")
    def test_who_connects_and_says_nothing_keeps_nobody_out(self, hospital, tmp_path, monkeypatch):
        monkeypatch.setattr(tls_module, "_HANDSHAKE_SECONDS", 0.2)
        self.fetch_beside_a_silent_one(hospital, tmp_path)
        assert fetched(tmp_path) == data_sets(hospital.studies)

    # pynetdicom's threads end with an error where the port is closed before anybody has said a word.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    @pytest.mark.mutant(SILENT, "waits for a handshake as long as it takes")
    def test_without_an_end_it_would(self, hospital, tmp_path, monkeypatch):
        monkeypatch.setattr(tls_module, "_Impatient", ssl.SSLContext)
        with pytest.raises(RunError, match="have not come"):
            self.fetch_beside_a_silent_one(hospital, tmp_path)

    def fetch_beside_a_silent_one(self, hospital, folder):
        settings = hospital.over_tls("move", timeout=3, retries=0)
        with archive(settings) as source, socket.create_connection(("localhost", settings.own_port)):
            for ref in source.find(Wanted(studies=tuple(study.uid for study in hospital.studies))):
                list(source.fetch(ref, folder / ref.accession))

    @pytest.mark.parametrize("way", ["dicomweb", "get"])
    def test_a_file_that_is_not_there_is_named(self, pacs, way, tmp_path):
        with pytest.raises(ConfigError, match="nowhere"):
            archive(pacs.settings(way, tls={"authority": str(tmp_path / "nowhere")}))

    def test_settings_say_nothing_of_patients(self, pacs):
        assert "ACC" not in json.dumps(pacs.dicomweb().model_dump(mode="json"))
