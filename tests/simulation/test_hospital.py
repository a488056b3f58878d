"""A hospital to try the ingest on, as ``python -m simulation.hospital`` opens it."""

import signal
import subprocess
import sys
from contextlib import contextmanager

import psutil
import pytest

from client_app.commands.ingest_settings import ingest_settings
from client_app.data.ingest.hospital import HospitalIngest
from federation.site_store import open_store
from simulation.hospital import fhir, orthanc
from simulation.hospital.nodule_patients import patients_of
from simulation.programs import ROOT

pytestmark = pytest.mark.deployment


@pytest.fixture(scope="module", autouse=True)
def _servers():
    if reason := orthanc.missing() or fhir.missing():
        pytest.skip(reason)


@pytest.fixture
def folder(tmp_path):
    """Named as people name folders, and no hospital."""
    return tmp_path / 'St. Mary: "2", {west}'


@contextmanager
def started(folder, patients=3):
    """The program, ended with its servers if it still runs."""
    command = [sys.executable, "-u", "-m", "simulation.hospital", folder, "0", str(patients)]
    piped = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=piped, stderr=piped, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def opened(process):
    """The line that says so."""
    return next(line for line in process.stdout if line.startswith("open: "))


def servers(process):
    """By the name of their program."""
    return {each.name(): each for each in psutil.Process(process.pid).children()}


def test_it_says_when_it_is_open_and_all_commands_work_with_what_it_has_written(folder):
    with started(folder) as process:
        line = opened(process)
        assert line.startswith("open: wardround-site ingest check --config ")
        assert line.endswith("site.yaml'; Ctrl-C ends it\n")
        settings = ingest_settings(folder / "site.yaml")
        HospitalIngest(settings).pacs(lambda _: None)
        assert len({each.patient for each in open_store(settings.store).series}) == 3
        assert [each.name for each in folder.parent.iterdir()] == [folder.name]
        with settings.consent.opt_outs.open("a") as listed:
            listed.write(f"{patients_of(0, 1)[0].who.id}\n")
        assert HospitalIngest(settings).consent().gone == {"opted-out": 1}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_when_it_is_told_to_and_its_servers_with_it(folder, number):
    with started(folder) as process:
        opened(process)
        left = [*servers(process).values()]
        assert len(left) == 2
        process.send_signal(number)
        assert (process.wait(), process.stderr.read()) == (0, "")
        assert psutil.wait_procs(left, timeout=10)[1] == []


@pytest.mark.parametrize(("program", "name"), [("Orthanc", "orthanc"), ("node", "fhir")])
def test_it_ends_with_the_name_of_a_server_that_has_ended(folder, program, name):
    with started(folder) as process:
        opened(process)
        servers(process)[program].kill()
        assert process.wait() == 1
        assert process.stderr.read() == f"RunError: {name} has ended; {folder}/{name}.log says why\n"


def test_so_it_does_while_patients_are_on_their_way(folder):
    with started(folder, patients=60) as process:
        assert process.stdout.readline() == "60 patients go into PACS and record ...\n"
        servers(process)["Orthanc"].kill()
        assert process.wait() == 1
        assert process.stderr.read() == f"RunError: orthanc has ended; {folder}/orthanc.log says why\n"
        assert not (folder / "site.yaml").exists()


def test_the_settings_of_an_earlier_time_go_before_those_of_now_come(folder):
    folder.mkdir()
    (folder / "site.yaml").write_text("of servers that are gone")
    (folder / "opt_outs.csv").write_text("patient\nsomebody\n")
    with started(folder) as process:
        process.stdout.readline()
        assert not (folder / "site.yaml").exists()
        opened(process)
        ingest_settings(folder / "site.yaml")
        assert (folder / "opt_outs.csv").read_text() == "patient\nsomebody\n"
