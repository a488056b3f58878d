"""A federation as a Slurm job, on a cluster of one node."""

import json
import sys
import tempfile
import time
from pathlib import Path

import cluster
import pytest
from cluster import Cluster, processes_of

from benchmarks.hospitals import STUDY, unpacked

pytestmark = [
    pytest.mark.deployment,
    pytest.mark.skipif(bool(cluster.missing()), reason=cluster.missing()),
]
SITES = ("alder", "birch", "cedar")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cluster")
    with Cluster.running(folder) as slurm:
        yield slurm
    assert not processes_of(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A release as it is unpacked on the shared disk."""
    folder = unpacked(tmp_path_factory.mktemp("release"), "scripts", "simulation")
    (folder / ".venv").symlink_to(Path(sys.prefix))
    return folder


@pytest.fixture(scope="module")
def scratch():
    """The nodes' folder for sockets, of these jobs alone: those of another cluster have the same numbers."""
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:
        yield Path(folder)


@pytest.fixture
def submit(slurm, folder, scratch):
    """``submit("rounds=2")`` submits the project's job of three hospitals, and returns its number."""

    def submitted(*overrides):
        script = folder / "scripts/slurm/federation.sbatch"
        return slurm.submit(folder, f"--ntasks={len(SITES)}", script, *overrides, TMPDIR=str(scratch))

    return submitted


def ended(slurm, folder, number):
    """Wait for a job's end: its state and exit code, and its log."""

    def over():
        time.sleep(1)  # each question is a process
        return slurm.state(number)[0] in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")

    slurm.programs.until(over, f"job {number}'s end", 900)
    return *slurm.state(number), (folder / f"wardround-{number}.log").read_text()


def sockets(scratch):
    return list(scratch.glob("wardround-*"))


def until_nothing_is_left(slurm, folder, scratch):
    slurm.programs.until(lambda: not processes_of(folder), "the end of its processes")
    assert sockets(scratch) == []


def test_a_study_runs_to_its_end_and_leaves_its_folder_and_no_process(slurm, folder, scratch, submit):
    settings = STUDY | {"federation": "simulation_4"}
    number = submit(*(f"{key}={value}" for key, value in settings.items()), "~federation.sites.dogwood")
    state, code, log = ended(slurm, folder, number)
    assert (state, code) == ("COMPLETED", "0:0"), log
    summary = json.loads((folder / f"runs/slurm-{number}/run/summary.json").read_text())
    assert summary["status"] == "completed"
    assert tuple(summary["sites"]) == SITES
    assert log.splitlines()[-1] == f"completed: model {summary['model_version']}"
    until_nothing_is_left(slurm, folder, scratch)


def test_a_job_of_another_size_than_its_federation_fails_at_once_and_says_what_to_ask_for(
    slurm, folder, submit
):
    state, code, log = ended(slurm, folder, submit("federation=simulation_10"))
    assert (state, code) == ("FAILED", "1:0")
    assert "federation simulation_10 has 10 hospitals: --ntasks=10" in log


def test_a_job_that_is_cancelled_leaves_no_process_and_no_socket(slurm, folder, scratch, submit):
    number = submit("federation=simulation_4", "~federation.sites.dogwood")
    sites = folder / f"runs/slurm-{number}/sites"
    slurm.programs.until(lambda: len(list(sites.glob("*/pinned"))) == len(SITES), "the hospitals' start", 240)
    assert len(sockets(scratch)) == len(SITES)
    slurm.ask("scancel", number)
    until_nothing_is_left(slurm, folder, scratch)
