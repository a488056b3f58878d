import json
import logging
from hashlib import sha256
from itertools import pairwise

import numpy as np
import pytest

from federation.config import compose_run
from federation.errors import QuorumError
from federation.models import build_network, layout_of
from server_app.initial_model import initial_model
from server_app.listeners import Listener, current_listeners, listening
from server_app.plain_log import PlainLog
from server_app.registry import Registry
from server_app.study_run import StudyRun
from simulation.engine import run_inline

SITES = ("alder", "birch", "cedar", "dogwood")
KINDS = ("json", "safetensors")
TINY = (
    "pretraining.source=random",
    "model.arguments.channels=[4,8]",
    "model.arguments.strides=[4,4]",
    "model.arguments.norm=[group,{num_groups: 2}]",
    "training.steps=2",
    "seed=1",
)


class Told(Listener):
    """Writes down what it is told."""

    def __init__(self):
        self.events, self.membership, self.summary, self.released = [], None, None, None

    def started(self, study, folder, membership, initial):
        self.events.append(("started", initial.copy()))
        self.membership = membership

    def round_finished(self, line, parameters):
        self.events.append((line, parameters.copy()))

    def finished(self, summary, parameters):
        self.events.append(("finished", summary.status))
        self.summary, self.released = summary, parameters


class Stopped(Listener):
    """Ctrl-C after round 1."""

    def round_finished(self, line, parameters):
        raise KeyboardInterrupt


def real_run(folder, *more, listeners=()):
    """A whole run over the hospitals' real custodians; returns what a listener was told."""
    told = Told()
    run_inline([*TINY, *more, f"run_dir='{folder}'"], len(SITES), told, *listeners)
    return told


def read(folder, name):
    return json.loads((folder / name).read_text())


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def play(tmp_path, tiny_run, on_grid):
    """A run of the tiny study, in ``tmp_path``, over hospitals that do what the test says."""

    def run(listeners, *hospitals):
        return on_grid(lambda grid: StudyRun(tiny_run, grid, tmp_path, listeners).execute(), *hospitals)

    return run


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A run of three rounds, and what its listener was told."""
    folder = tmp_path_factory.mktemp("done") / "run"
    return folder, real_run(folder, "rounds=3")


def test_a_run_leaves_its_whole_record_and_nothing_else(done):
    folder, _ = done
    models = [f"{name}.{kind}" for name in ("final", "round-001", "round-002", "round-003") for kind in KINDS]
    assert sorted(file.name for file in (folder / "models").iterdir()) == models
    assert sorted(file.name for file in folder.iterdir()) == [
        "audit-heads.jsonl",
        "audit-heads.lock",
        "checkpoint.safetensors",
        "lock",
        "metrics.jsonl",
        "model_card.md",
        "models",
        "roster.json",
        "roster.lock",
        "run.json",
        "secure-sum.json",
        "sites",
        "study.json",
        "summary.json",
    ]


def test_the_study_is_on_disk_under_its_id(done):
    folder, told = done
    assert sha256((folder / "study.json").read_bytes()).hexdigest() == told.summary.study_id


def test_the_summary_says_what_every_hospital_did_and_what_it_cost(done):
    folder, told = done
    summary = read(folder, "summary.json")
    assert summary == told.summary.model_dump(mode="json")
    assert (summary["status"], summary["reason"], summary["rounds"]) == ("completed", "", 3)
    assert tuple(summary["sites"]) == SITES
    for site in summary["sites"].values():
        assert (site["steps"], site["rounds"], site["delta"]) == (6, 3, 1e-5)
        assert 7.9 < site["epsilon"] <= 8
    assert summary["simulation"] is False, "the coordinator cannot know"
    assert summary["pooled"] is None


def test_the_card_of_the_released_model_says_what_was_promised_and_that_a_seed_protects_nobody(done):
    folder, told = done
    card = (folder / "model_card.md").read_text()
    assert card.startswith(f"# {told.summary.model_version}\n")
    assert told.summary.study_id in card
    assert "ε = 8 at δ = 1e-05" in card
    assert "it protects nobody" in card
    assert "Not a medical device" in card


def test_each_round_has_a_line_with_who_took_part_and_what_it_has_cost_so_far(done):
    folder, _ = done
    rounds = lines(folder)
    assert [line["round"] for line in rounds] == [1, 2, 3]
    for line in rounds:
        assert line["participants"] == list(SITES)
        assert line["absent"] == []
        file = folder / "models" / f"round-{line['round']:03d}.safetensors"
        assert line["model_sha256"] == sha256(file.read_bytes()).hexdigest()
    costs = [line["epsilon"]["alder"] for line in rounds]
    assert 0 < costs[0] < costs[1] < costs[2] <= 8


def test_each_version_has_the_one_before_as_its_parent(done):
    folder, told = done
    names = ["round-001", "round-002", "round-003", "final"]
    manifests = [read(folder / "models", f"{name}.json") for name in names]
    assert manifests[0]["parent"] is None
    for before, after in pairwise(manifests):
        assert after["parent"] == before["version"]
    assert manifests[-1]["version"] == told.summary.model_version
    assert manifests[-1]["participants"] == list(SITES)
    assert {manifest["study_id"] for manifest in manifests} == {told.summary.study_id}


def test_the_released_model_is_the_mean_of_the_last_half_of_the_rounds(done):
    folder, told = done
    run = compose_run([*TINY, "rounds=3"])
    layout = layout_of(build_network(run.study.model, run.study.task))
    registry = Registry(folder, run.study, layout)
    models = {f"round-{number:03d}": registry.read(number) for number in (1, 2, 3)}
    models["final"] = registry.read(None)
    last_two = (models["round-002"].astype(np.float64) + models["round-003"]) / 2
    assert np.array_equal(models["final"], last_two.astype(np.float32))
    assert np.array_equal(models["final"], told.released)
    assert not np.array_equal(models["final"], models["round-003"])
    assert np.array_equal(told.events[0][1], initial_model(run.study))
    assert not np.array_equal(models["round-001"], initial_model(run.study))


def test_listeners_are_told_start_rounds_and_end_in_this_order(done):
    _, told = done
    assert [getattr(what, "round", what) for what, _ in told.events] == ["started", 1, 2, 3, "finished"]


def test_a_listener_changes_nothing_of_the_run(done, tmp_path):
    folder, _ = done
    again = tmp_path / "again"
    real_run(again, "rounds=3", listeners=[Told(), PlainLog()])
    for file in (folder / "models").glob("*.safetensors"):
        assert (again / "models" / file.name).read_bytes() == file.read_bytes()


def test_a_hospital_that_refuses_the_promise_stays_out_by_its_rule_and_the_run_goes_on(tmp_path):
    told = real_run(tmp_path, "rounds=1", "+federation.sites.birch.policy={maximum_epsilon: 1}", "quorum=3")
    assert "refused by epsilon-too-large: ε=8.0 is above" in told.membership.absent["birch"]
    assert tuple(told.summary.sites) == ("alder", "cedar", "dogwood")
    (line,) = lines(tmp_path)
    assert line["participants"] == ["alder", "cedar", "dogwood"]
    (absence,) = line["absent"]
    assert absence["site"] == "birch"
    assert "epsilon-too-large" in absence["reason"]


def test_without_it_the_quorum_is_missed_and_the_record_says_so(tmp_path):
    with pytest.raises(QuorumError, match="epsilon-too-large"):
        real_run(tmp_path, "rounds=1", "+federation.sites.birch.policy={maximum_epsilon: 1}", "quorum=4")
    summary = read(tmp_path, "summary.json")
    assert summary["status"] == "failed"
    assert "epsilon-too-large" in summary["reason"]
    assert summary["model_version"] == ""
    assert not (tmp_path / "models").exists()
    assert not (tmp_path / "model_card.md").exists()


def test_a_site_that_fails_in_a_round_is_named_in_the_record_and_comes_back_in_the_next(tmp_path, play, four):
    def odd_in_round_1(reply):
        if reply.round > 1:
            return reply
        return reply.model_copy(update={"parameters": np.full_like(reply.parameters, np.nan)})

    told = Told()
    hospitals = four(cedar={"train": odd_in_round_1})
    play([told], *hospitals)
    first, second = lines(tmp_path)
    assert first["participants"] == ["alder", "birch", "dogwood"]
    assert first["absent"] == [
        {"site": "cedar", "reason": "invalid reply: parameters that are not finite"},
    ]
    assert first["epsilon"]["cedar"] == first["epsilon"]["alder"], "its patients have paid all the same"
    assert second["participants"] == list(SITES)
    assert second["absent"] == []
    assert {name: site.rounds for name, site in told.summary.sites.items()} == {
        "alder": 2,
        "birch": 2,
        "cedar": 1,
        "dogwood": 2,
    }


def test_a_run_that_fails_late_keeps_its_finished_rounds_and_releases_nothing(tmp_path, play, four):
    def dies_in_round_2(reply):
        if reply.round == 2:
            raise RuntimeError
        return reply

    told = Told()
    hospitals = four(**{site: {"train": dies_in_round_2} for site in SITES})
    with pytest.raises(QuorumError, match="round 2: 0 valid updates"):
        play([told], *hospitals)
    summary = read(tmp_path, "summary.json")
    assert summary["status"] == "failed"
    assert summary["reason"].startswith("round 2: 0 valid updates, quorum 3. alder: its node reports error")
    assert summary["sites"]["alder"]["steps"] == 4, "round 2 was asked for, so it may have cost something"
    assert summary["model_version"].startswith("nodule_ct-round-001-")
    assert sorted(file.name for file in (tmp_path / "models").iterdir()) == [
        "round-001.json",
        "round-001.safetensors",
    ]
    assert told.events[-1] == ("finished", "failed")
    assert told.released is None


def test_a_run_that_is_stopped_by_hand_says_so(tmp_path, play, four):
    told = Told()
    with pytest.raises(KeyboardInterrupt):
        play([told, Stopped()], *four())
    summary = read(tmp_path, "summary.json")
    assert (summary["status"], summary["reason"]) == ("interrupted", "stopped by hand")
    assert summary["sites"]["alder"]["rounds"] == 1
    assert (tmp_path / "models" / "round-001.safetensors").exists()
    assert told.released is None


def test_listeners_of_the_surrounding_block_take_the_place_of_the_others():
    default, mine = Listener(), Listener()
    assert current_listeners([default]) == [default]
    with listening(mine):
        assert list(current_listeners([default])) == [mine]
        with listening():
            assert list(current_listeners([default])) == []
        assert list(current_listeners([default])) == [mine]
    assert current_listeners([default]) == [default]


def test_a_run_that_nobody_watches_logs_plain_lines_and_writes_the_report(
    tmp_path, play, four, hospital, caplog
):
    birch_fails = {"train": lambda reply: reply.model_copy(update={"round": 9})}
    hospitals = [*four(birch=birch_fails), hospital("elm")]
    flower = logging.getLogger("flwr")
    flower.addHandler(caplog.handler)
    try:
        play([PlainLog()], *hospitals)
    finally:
        flower.removeHandler(caplog.handler)
    said = caplog.text
    assert "hospitals: alder, birch, cedar, dogwood" in said
    assert "without elm: is not a participant of the study" in said
    assert "round 1: alder, cedar, dogwood" in said
    assert "round 1 without birch: invalid reply: it is of round 9" in said
    assert "completed: nodule_ct-final-" in said
    assert (tmp_path / "report.html").exists()
