import json
import os
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from federation.config import compose_run
from federation.errors import ConfigError
from federation.overrides import quoted
from server_app.membership import Membership
from server_app.record import RoundLine, Summary
from server_app.trackers import make_tracker, settings_of
from simulation.simulate import main

pytestmark = pytest.mark.deployment  # for its time
ROOT = Path(__file__).parents[2]
# All that a tracker does, with every connection that the process tries written down.
WATCHED = """
import os, sys, time
tried = []
def watch(event, arguments):
    if event.startswith("socket.get") or event == "socket.connect":
        tried.append(arguments)
sys.addaudithook(watch)
import numpy as np
from pathlib import Path
from federation.config import compose_run
from server_app.membership import Membership
from server_app.trackers import make_tracker
tracker = make_tracker("mlflow", lambda: None)
tracker.started(compose_run([]).study, Path(sys.argv[1]), Membership({}, {}), np.zeros(1))
time.sleep(1)  # telemetry has a thread of its own
print("tried", tried)
"""
IN_TESTS = ("PYTEST_CURRENT_TEST", "CI", "GITHUB_ACTIONS", "DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY")

ROUND = RoundLine(
    round=1,
    seconds=1.5,
    participants=("alder", "birch"),
    absent=(),
    epsilon={"alder": 1.0, "birch": 2.5, "cedar": None},
    model_sha256="0",
)


@pytest.fixture
def simulate(tmp_path, monkeypatch, noise):
    """``simulate("mlflow")``: the folder of a tiny run over noise with that tracker."""
    monkeypatch.syspath_prepend(str(ROOT / "tests/simulation"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def run(kind, *settings):
        folder = tmp_path / "runs" / kind
        with redirect_stdout(StringIO()):
            assert main(["-q", *noise, f"tracker={kind}", f"run_dir={quoted(folder)}", *settings]) == 0
        return folder

    return run


def recorded(folder):
    """The values that the run's own record has, ``{name: {step: value}}``."""
    values = {}
    for line in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()):
        step = line["round"]
        if line["event"] == "round":
            values.setdefault("round/participants", {})[step] = len(line["participants"])
            values.setdefault("round/seconds", {})[step] = line["seconds"]
            values.setdefault("epsilon/largest", {})[step] = max(line["epsilon"].values())
        else:
            measured = {"pooled": line["pooled"], **line["sites"]}
            for name, one in measured.items():
                values.setdefault(f"auc/{name}", {})[step] = one["auc"]
    return values


def close(told, expected):
    assert told.keys() == expected.keys()
    for name, steps in expected.items():
        assert told[name] == pytest.approx(steps, rel=1e-6), name


def test_tensorboard_shows_what_the_run_recorded(simulate):
    folder = simulate("tensorboard")
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    names = events.Tags()["scalars"]
    told = {name: {event.step: event.value for event in events.Scalars(name)} for name in names}
    expected = recorded(folder)
    assert set(expected["auc/pooled"]) == {0, 1, 2}
    assert {"auc/alder", "auc/birch", "auc/cedar", "auc/dogwood"} < set(expected)
    close(told, expected)
    study = json.loads((folder / "summary.json").read_text())["study_id"]
    text = events.Tensors("study/text_summary")[0].tensor_proto.string_val[0].decode()
    assert f"| study_id | {study} |" in text
    assert "| training.steps | 2 |" in text


def test_mlflow_keeps_what_the_run_recorded_without_a_server(simulate, tmp_path):
    folder = simulate("mlflow")
    client = MlflowClient(f"sqlite:///{folder / 'mlruns/mlflow.db'}")
    experiment = client.get_experiment_by_name("nodule_ct")
    (run,) = client.search_runs([experiment.experiment_id])
    told = {
        name: {metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, name)}
        for name in run.data.metrics
    }
    close(told, recorded(folder))
    assert run.info.run_name == "mlflow"
    assert run.info.status == "FINISHED"
    assert run.data.params["study_id"] == json.loads((folder / "summary.json").read_text())["study_id"]
    assert run.data.params["training.steps"] == "2"
    assert experiment.artifact_location.startswith((folder / "mlruns").as_uri())
    assert [file.name for file in tmp_path.iterdir()] == ["runs"]


def test_mlflow_goes_where_the_environment_says(simulate, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'ours.db'}")
    folder = simulate("mlflow")
    assert not (folder / "mlruns").exists()
    client = MlflowClient(f"sqlite:///{tmp_path / 'ours.db'}")
    assert client.get_experiment_by_name("nodule_ct") is not None


@pytest.mark.parametrize(
    ("status", "shown"), [("completed", "FINISHED"), ("failed", "FAILED"), ("interrupted", "KILLED")]
)
def test_mlflow_shows_how_a_run_ended(study, tmp_path, monkeypatch, status, shown):
    uri = f"sqlite:///{tmp_path / 'ours.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    tracker = make_tracker("mlflow", lambda: None)
    tracker.started(study, tmp_path, Membership({}, {}), np.zeros(1, np.float32))
    tracker.finished(Summary.model_construct(status=status), None)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("nodule_ct")
    assert [run.info.status for run in client.search_runs([experiment.experiment_id])] == [shown]


def test_a_run_that_ends_before_it_began_breaks_nothing(caplog):
    make_tracker("mlflow", lambda: None).finished(Summary.model_construct(status="interrupted"), None)
    assert caplog.text == ""


def test_the_run_is_the_same_with_and_without_a_tracker(simulate):
    with_tracker, without = simulate("tensorboard"), simulate("none")
    assert not (without / "tensorboard").exists()
    models = [(folder / "models/final.safetensors").read_bytes() for folder in (with_tracker, without)]
    assert models[0] == models[1]


@pytest.mark.parametrize("kind", ["tensorboard", "mlflow"])
def test_a_library_that_is_not_there_is_said_before_the_run(kind, monkeypatch):
    monkeypatch.setitem(sys.modules, kind, None)
    with pytest.raises(ConfigError, match=rf"tracker={kind} .*pip install 'wardround\[{kind}\]'"):
        make_tracker(kind, lambda: None)


@pytest.mark.parametrize("kind", ["tensorboard", "mlflow"])
def test_a_tracker_that_fails_in_the_middle_stops_and_the_run_goes_on(
    kind, study, tmp_path, caplog, monkeypatch
):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    tracker, tries = make_tracker(kind, lambda: None), []

    def fail(step, values):
        tries.append(step)
        raise OSError("the server is gone")

    tracker.started(study, tmp_path, Membership({}, {}), np.zeros(1, np.float32))
    monkeypatch.setattr(tracker, "note", fail)
    for _ in range(2):
        tracker.round_finished(ROUND, np.zeros(1, np.float32))
    assert tries == [1]
    assert "the server is gone" in caplog.text


def test_where_nothing_can_be_recorded_the_run_does_not_begin(study, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'file' / 'all.db'}")
    tracker = make_tracker("mlflow", lambda: None)
    with pytest.raises(ConfigError, match="the tracker cannot begin"):
        tracker.started(study, tmp_path, Membership({}, {}), np.zeros(1, np.float32))


def test_where_nobody_measures_only_the_rounds_are_noted(study, tmp_path, monkeypatch):
    tracker, noted = make_tracker("tensorboard", lambda: None), []
    tracker.started(study, tmp_path, Membership({}, {}), np.zeros(1, np.float32))
    monkeypatch.setattr(tracker, "note", lambda step, values: noted.append((step, values)))
    tracker.round_finished(ROUND, np.zeros(1, np.float32))
    assert noted == [(1, {"round/participants": 2.0, "round/seconds": 1.5, "epsilon/largest": 2.5})]


@pytest.mark.deployment  # for its time
def test_mlflow_tells_nobody_that_it_is_used(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name not in IN_TESTS}
    environment.pop("MLFLOW_TRACKING_URI", None)
    told = subprocess.run(
        [sys.executable, "-c", WATCHED, str(tmp_path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.splitlines()[-1] == "tried []"


def test_settings_are_flat_and_complete():
    settings = settings_of(compose_run(["privacy=none"]).study)
    assert settings["study_id"] == compose_run(["privacy=none"]).study.id
    assert settings["task.image_size"] == "[64, 64]"
    assert settings["strategy.name"] == "fedavg"
    assert settings["tail"] == "0.5"
    assert "task" not in settings
