"""A federation as a Slurm job, on a cluster of one node."""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import cluster
import pytest
from cluster import Cluster

from benchmarks.hospitals import STUDY
from benchmarks.programs import ROOT, Programs

pytestmark = [
    pytest.mark.deployment,
    pytest.mark.skipif(bool(cluster.missing()), reason=cluster.missing()),
    pytest.mark.skipif(shutil.which("nginx", path="/usr/sbin:/usr/bin") is None, reason="nginx is missing"),
]
SITES = ("alder", "birch", "cedar")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    with Programs(tmp_path_factory.mktemp("cluster")) as programs:
        yield Cluster(programs).start()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A release as it is unpacked on the shared disk."""
    folder = tmp_path_factory.mktemp("release")
    for part in ("client_app", "server_app", "federation", "tasks", "conf", "scripts"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / part, folder / part)
    for part in ("simulation", "tests", "docs"):  # which the bundle leaves out, if they are there
        (folder / part).mkdir()
        (folder / part / "empty.py").touch()
    (folder / ".venv").symlink_to(Path(sys.prefix))
    return folder


def job(slurm, folder, *overrides):
    """Submit the project's job and wait for its end: its number, its state and exit code, and its log."""
    script = folder / "scripts/slurm/federation.sbatch"
    number = slurm.submit(folder, f"--ntasks={len(SITES)}", script, *overrides)
    over = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
    slurm.programs.until(lambda: slurm.state(number)[0] in over, f"job {number}'s end", 400)
    return number, slurm.state(number), (folder / f"wardround-{number}.log").read_text()


def processes_of(folder):
    """The command lines that still name ``folder``."""
    lines = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(folder) in line:
                lines.append(line)
    return lines


def test_a_study_runs_to_its_end_and_leaves_its_folder_and_no_process(slurm, folder):
    settings = STUDY | {"federation": "simulation_4"}
    overrides = [f"{key}={value}" for key, value in settings.items()]
    number, (state, code), log = job(slurm, folder, *overrides, "~federation.sites.dogwood")
    made = folder / f"runs/slurm-{number}"
    assert (state, code) == ("COMPLETED", "0:0"), log
    summary = json.loads((made / "run/summary.json").read_text())
    assert summary["status"] == "completed"
    assert tuple(summary["sites"]) == SITES
    assert log.splitlines()[-1] == f"completed: model {summary['model_version']}"
    slurm.programs.until(lambda: not processes_of(folder), "the end of its processes")
    assert not list(Path(tempfile.gettempdir()).glob(f"wardround-{number}-*"))


def test_a_job_of_another_size_than_its_federation_fails_at_once_and_says_what_to_ask_for(slurm, folder):
    _, (state, code), log = job(slurm, folder, "federation=simulation_10")
    assert (state, code) == ("FAILED", "1:0")
    assert "federation simulation_10 has 10 hospitals: --ntasks=10" in log


def test_a_job_that_is_cancelled_leaves_no_process_and_no_socket(slurm, folder):
    script = folder / "scripts/slurm/federation.sbatch"
    overrides = ("federation=simulation_4", "~federation.sites.dogwood")
    number = slurm.submit(folder, f"--ntasks={len(SITES)}", script, *overrides)
    sites = folder / f"runs/slurm-{number}/sites"
    slurm.programs.until(lambda: len(list(sites.glob("*/pinned"))) == len(SITES), "the hospitals' start")
    slurm.ask("scancel", number)
    slurm.programs.until(lambda: not processes_of(folder), "the end of its processes")
    assert not list(Path(tempfile.gettempdir()).glob(f"wardround-{number}-*"))
