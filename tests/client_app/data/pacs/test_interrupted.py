"""Real processes that are killed, ours and the archive's, and a full disk: nothing is lost or comes twice."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from orthanc import WAYS, start_pacs
from web_archive import WebArchive
from whole_files import data_sets, fetched

from client_app.data.pacs.archive import archive
from client_app.data.pacs.settings import DicomwebSettings, Rate
from client_app.data.pacs.source import StudyRef, Wanted
from federation.errors import RunError, StorageError
from simulation.hospital.ct_series import CtStudy, Patient, studies
from simulation.programs import ROOT, Programs

# pynetdicom leaves the sockets of connections that were refused to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

every_way = pytest.mark.parametrize("way", WAYS)


def started(settings, folder, uids):
    """A process that fetches; see ``fetching.py``."""
    return subprocess.Popen(
        [sys.executable, Path(__file__).with_name("fetching.py"), settings.model_dump_json(), folder, *uids],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class TestKilled:
    @every_way
    def test_what_was_whole_stays_and_the_rest_comes_once(self, pacs, way, tmp_path):
        """Twice: in the first study, and in the middle of all."""
        uids = [study.uid for study in pacs.studies]
        slow = pacs.settings(way, rate={"megabytes_per_second": 0.1})
        for kill_at in (5, 70):
            with started(slow, tmp_path, uids) as process:
                for line in process.stdout:
                    if int(line) >= kill_at:
                        process.send_signal(signal.SIGKILL)
                        break
            assert process.wait() == -signal.SIGKILL
            whole = fetched(tmp_path)
            assert len(whole) >= kill_at
            assert set(whole) <= set(data_sets(pacs.studies))
        with started(pacs.settings(way), tmp_path, uids) as process:
            counts = [int(line) for line in process.stdout]
        assert process.wait() == 0
        assert fetched(tmp_path) == data_sets(pacs.studies)
        assert counts[-1] == len(fetched(tmp_path)) - len(whole)
        assert not list(tmp_path.rglob(".part-*"))

    def test_at_no_step_is_half_a_file_left(self, tmp_path, killed_at):
        """Between any two steps on the disk, that is."""
        study, step, died = studies(1, slices=3)[0], 0, [0]
        with WebArchive([study]) as web_archive:
            settings = DicomwebSettings(url=web_archive.url)
            while died:
                step += 1
                folder = tmp_path / str(step)
                with killed_at(step) as died, archive(settings) as source:
                    list(source.fetch(StudyRef(study.uid), folder))
                if folder.exists():
                    assert set(fetched(folder)) <= set(data_sets([study]))
                with archive(settings) as source:
                    assert len(list(source.fetch(StudyRef(study.uid), folder))) == 3
                assert fetched(folder) == data_sets([study])
        assert step > 9

    def test_two_processes_do_not_fetch_into_one_folder(self, pacs, tmp_path):
        study = pacs.studies[0]
        slow = pacs.dicomweb(rate=Rate(megabytes_per_second=0.01))
        with started(slow, tmp_path, [study.uid]) as process:
            process.stdout.readline()
            process.stdout.readline()
            (folder,) = tmp_path.iterdir()
            with archive(pacs.dicomweb()) as source, pytest.raises(RunError, match="another process"):
                list(source.fetch(StudyRef(study.uid), folder))
            process.kill()


class TestThePacsStops:
    @every_way
    def test_a_fetch_goes_on_when_it_is_back(self, way, tmp_path):
        """Orthanc is killed while it sends, and started again."""
        study = CtStudy(60, Patient(3), slices=60)
        enough, told = threading.Event(), []

        def count(progress):
            told.append(progress.instances)
            if progress.instances >= 20:
                enough.set()

        (tmp_path / "programs").mkdir()
        with Programs(tmp_path / "programs") as programs:
            pacs = start_pacs(programs, [study])
            slow = pacs.settings(way, rate={"megabytes_per_second": 0.05}, timeout=5)

            def stop_and_go():
                enough.wait()
                programs.kill("orthanc")
                programs.start_again("orthanc")

            killer = threading.Thread(target=stop_and_go)
            killer.start()
            with archive(slow, count) as source:
                (ref,) = source.find(Wanted(accessions=(study.accession,)))
                assert len(list(source.fetch(ref, tmp_path / "in"))) == 60
            killer.join()
        assert fetched(tmp_path / "in") == data_sets([study])
        assert told[-1] == 60

    @every_way
    def test_one_that_does_not_come_back_is_told_with_what_is_missing(self, way, tmp_path):
        study = CtStudy(61, Patient(4), slices=24, size=512)  # more than what is on the way when it ends
        (tmp_path / "programs").mkdir()
        with Programs(tmp_path / "programs") as programs:
            pacs = start_pacs(programs, [study])

            def stop(progress):
                if progress.instances == 10 and programs.running("orthanc"):
                    programs.kill("orthanc")

            slow = pacs.settings(way, rate={"megabytes_per_second": 8}, timeout=5, retries=1)
            with archive(slow, stop) as source:
                (ref,) = source.find(Wanted(accessions=(study.accession,)))
                with pytest.raises(RunError, match=r"^\d+ of a study's 24 files have not come"):
                    list(source.fetch(ref, tmp_path / "in"))
            whole = len(fetched(tmp_path / "in"))
            assert 10 <= whole < 24
            programs.start_again("orthanc")
            programs.until_listening(pacs.orthanc.http)
            programs.until_listening(pacs.orthanc.dimse)
            told = []
            with archive(pacs.settings(way), told.append) as source:
                list(source.fetch(ref, tmp_path / "in"))
            assert told[-1].instances == 24 - whole
        assert fetched(tmp_path / "in") == data_sets([study])


def test_over_dicomweb_a_large_file_takes_no_memory(tmp_path):
    """64 MiB in one, beside 2 KiB."""
    peaks = []
    for size in (16, 5800):
        study = CtStudy(70, Patient(1), slices=1, size=size)
        with (
            WebArchive([study]) as web_archive,
            started(DicomwebSettings(url=web_archive.url), tmp_path / str(size), [study.uid]) as process,
        ):
            _, said = process.communicate()
        (path,) = (tmp_path / str(size)).rglob("*.dcm")
        assert path.stat().st_size > 2 * size**2
        peaks.append(int(said.split()[-1]))
    assert peaks[1] - peaks[0] < 16 << 10


class TestTheDisk:
    @every_way
    def test_a_full_one_is_an_error_of_ours_and_leaves_no_scrap(self, pacs, way, tmp_path, monkeypatch):
        def full(_):
            raise OSError(28, "No space left on device")

        with archive(pacs.settings(way)) as source:
            (ref,) = source.find(Wanted(accessions=(pacs.studies[0].accession,)))
            with monkeypatch.context() as patch:
                patch.setattr(os, "fsync", full)
                with pytest.raises(StorageError, match="No space left") as error:
                    list(source.fetch(ref, tmp_path / "in"))
            assert str(tmp_path) not in str(error.value)
            assert not list(tmp_path.rglob("*.dcm"))
            assert not list(tmp_path.rglob(".part-*"))
            assert len(list(source.fetch(ref, tmp_path / "in"))) == 12
