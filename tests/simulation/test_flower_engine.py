import json
import os
import signal
import time
from pathlib import Path
from uuid import uuid4

import pytest

from federation.config import compose_run
from simulation.flower_engine import _absolute

pytestmark = pytest.mark.deployment

MARK = "WARDROUND_TEST"


@pytest.fixture(autouse=True)
def _processes_of_this_test(monkeypatch):
    """They import the tiny task, and can be told from those of a test beside this one."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setenv(MARK, uuid4().hex)


def left():
    """The command lines of processes that this test has started and that do not end by themselves."""
    mark = f"{MARK}={os.environ[MARK]}".encode()
    end = time.monotonic() + 30
    while processes := [
        read(file.with_name("cmdline"))
        for file in Path("/proc").glob("[0-9]*/environ")
        if mark in read(file) and file.parent.name != str(os.getpid())
    ]:
        if time.monotonic() > end:
            return processes
        time.sleep(0.5)
    return []


def read(environ):
    try:
        return environ.read_bytes().split(b"\0")
    except OSError:
        return []


def test_through_flower_a_study_gives_the_same_models_and_the_same_record(simulate):
    inline = simulate("seed=5", name="inline")
    flower = simulate("seed=5", "engine=flower", name="flower")
    assert (flower.code, flower.err) == (0, "")
    assert flower.models == inline.models
    changing = {"started", "seconds"}
    assert {key: value for key, value in flower.summary.items() if key not in changing} == {
        key: value for key, value in inline.summary.items() if key not in changing
    }
    lines = [
        [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
        for run in (inline, flower)
    ]
    for one, other in zip(*lines, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
    # Of SQLite's own files it depends on how a process ended whether they are there.
    files = [
        {str(file.relative_to(run.folder)) for file in run.folder.rglob("*") if "sqlite-" not in file.name}
        for run in (inline, flower)
    ]
    assert files[0] == files[1]
    assert "round 2/2  ε so far" in flower.out
    assert left() == []


@pytest.mark.parametrize("setting", ["aggregation=secure", "privacy=distributed"])
def test_through_flower_secure_sums_give_the_same_models_bit_for_bit(setting, simulate):
    inline = simulate(setting, "seed=5", name="inline")
    flower = simulate(setting, "seed=5", "engine=flower", name="flower")
    assert (flower.code, flower.err) == (0, "")
    assert len(inline.models) > 1
    assert flower.models == inline.models
    assert flower.read("study.json")["aggregation"] == "secure"
    assert flower.summary["privacy"] == inline.summary["privacy"]
    assert left() == []


def test_a_study_that_fails_says_why_and_leaves_no_process(simulate):
    done = simulate(
        "engine=flower", "+federation.sites.birch.policy={minimum_patients: 1000}", "quorum=4", "-q"
    )
    assert done.code == 1
    assert done.err.startswith("RunError: 3 of at least 4 hospitals will take part. birch: refused by")
    assert (done.summary["status"], done.summary["simulation"]) == ("failed", True)
    assert (done.folder / "report.html").exists()
    assert left() == []


def test_ctrl_c_leaves_the_record_of_what_was_finished_and_no_process(start):
    process, folder = start("engine=flower", "rounds=60000")
    for line in process.stdout:
        if line.startswith("round 2/"):
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "stopped by hand; what was finished is in the run's folder\n"
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["status"], summary["simulation"]) == ("interrupted", True)
    assert all(site["epsilon"] > 0 and site["steps"] >= 4 for site in summary["sites"].values())
    assert (folder / "report.html").exists()
    assert left() == []


def test_folders_of_data_are_absolute_for_flower_and_the_study_is_the_same():
    overrides = [
        "site.data.folder=../shared/data",
        "+federation.sites.elm={data: {folder: elm, parts: [0], of: 1}}",
    ]
    run, absolute = compose_run(overrides), compose_run(_absolute(compose_run(overrides), overrides))
    assert absolute.study == run.study
    assert absolute.site["data"]["folder"] == str(Path("../shared/data").absolute())
    assert absolute.federation.sites["elm"]["data"] == {
        "folder": str(Path("elm").absolute()),
        "parts": [0],
        "of": 1,
    }
