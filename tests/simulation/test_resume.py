import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from federation.files import locked
from federation.overrides import quoted
from server_app.strategy import ServerOptimizer
from simulation.simulate import main

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# A strategy that remembers, sites whose optimisers remember, and enough rounds to be broken off in.
SETTINGS = ("seed=7", "strategy=fedadam", "rounds=6", "training.momentum=0.9", "progress=plain")

# Ends this process as kill -9 does, when it is about to make its n-th file durable.
KILLED_AT = """
import os, sys, threading
count, lock, fsync = [0], threading.Lock(), os.fsync
def counted(descriptor):
    with lock:
        count[0] += 1
        if count[0] == int(sys.argv[1]):
            os._exit(9)
    fsync(descriptor)
os.fsync = counted
from simulation.simulate import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def whole(simulate_in, tmp_path_factory):
    """The run that nobody breaks off."""
    return simulate_in(tmp_path_factory.mktemp("whole") / "run", *SETTINGS)


def killed(noise, folder, moment):
    command = [sys.executable, "-c", KILLED_AT, str(moment), *noise, *SETTINGS, f"run_dir={quoted(folder)}"]
    environment = {**os.environ, "PYTHONPATH": f"{HERE}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, check=False, env=environment, cwd=ROOT, capture_output=True).returncode


def record(folder):
    """What a run leaves, but for what the clock says and where it was broken off."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    summary = json.loads((folder / "summary.json").read_text())
    for entry in (*lines, summary):
        entry.pop("seconds", None)
        entry.pop("started", None)
    summary.pop("resumed", None)
    models = {file.name: file.read_bytes() for file in (folder / "models").iterdir()}
    return models, lines, summary


@pytest.mark.deployment  # for its time
@pytest.mark.parametrize("moment", [3, 8, 20, 56, 72, 150])
def test_a_run_killed_while_it_writes_goes_on_to_the_same_model_and_record(noise, whole, tmp_path, moment):
    folder = tmp_path / "run"
    assert killed(noise, folder, moment) == 9
    assert not (folder / "summary.json").exists()
    assert main([f"resume={quoted(folder)}"]) == 0
    assert record(folder) == record(whole.folder)


@pytest.mark.deployment
def test_a_run_killed_again_and_again_comes_to_the_same_end(start, whole, tmp_path):
    process, folder = start(*SETTINGS)
    for round_number in (1, 3, 4):
        for line in process.stdout:
            if line.startswith(f"round {round_number}/"):
                break
        process.send_signal(signal.SIGKILL)
        process.communicate()
        process, _ = start(f"resume={quoted(folder)}", alone=True)
    assert process.communicate()[1] == ""
    assert process.returncode == 0
    assert record(folder) == record(whole.folder)


@pytest.mark.deployment  # for its time
def test_a_strategy_that_forgot_would_be_noticed(noise, whole, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    assert killed(noise, folder, 200) == 9
    monkeypatch.setattr(ServerOptimizer, "restore", lambda self, state: None)
    assert main([f"resume={quoted(folder)}"]) == 0
    assert record(folder)[0] != record(whole.folder)[0]


@pytest.mark.deployment  # for its time
def test_a_finished_run_resumed_is_the_same_run(simulate, tmp_path):
    first = simulate(*SETTINGS)
    before = record(first.folder)
    assert main([f"resume={quoted(first.folder)}"]) == 0
    assert record(first.folder) == before


@pytest.mark.deployment  # for its time
def test_a_run_stopped_by_hand_goes_on_and_forgets_that_it_was(start, whole):
    process, folder = start(*SETTINGS)
    for line in process.stdout:
        if line.startswith("round 2/"):
            break
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert main([f"resume={quoted(folder)}"]) == 0
    assert record(folder) == record(whole.folder)


@pytest.mark.deployment  # for its time
def test_latest_leads_to_a_run_from_its_start(start):
    process, folder = start(*SETTINGS)
    for line in process.stdout:
        if line.startswith("round 1/"):
            break
    process.kill()
    assert (folder.parent / "latest").resolve() == folder


@pytest.mark.deployment  # for its time
def test_a_run_goes_on_only_with_its_own_settings(simulate, capsys):
    folder = simulate(*SETTINGS).folder
    assert main([f"resume={quoted(folder)}", "rounds=9"]) == 1
    assert capsys.readouterr().err.startswith("ConfigError: rounds=9: a run goes on with the settings")


def test_a_folder_without_a_run_is_refused(tmp_path, capsys):
    assert main([f"resume={quoted(tmp_path)}"]) == 1
    assert capsys.readouterr().err.startswith(f"ConfigError: resume={tmp_path} holds no run")


def test_a_run_that_still_runs_is_left_alone(simulate, capsys):
    folder = simulate(*SETTINGS).folder
    with locked(folder / "lock", wait=False):
        assert main([f"resume={quoted(folder)}"]) == 1
    assert "is being run by another process" in capsys.readouterr().err


@pytest.mark.deployment  # for its time
def test_a_changed_model_is_noticed(noise, tmp_path, capsys):
    folder = tmp_path / "run"
    assert killed(noise, folder, 200) == 9
    models = sorted((folder / "models").glob("round-*.safetensors"))
    content = bytearray(models[0].read_bytes())
    content[-1] ^= 1
    for model in models:
        model.write_bytes(content)
    assert main([f"resume={quoted(folder)}"]) == 1
    assert "the file was changed" in capsys.readouterr().err
