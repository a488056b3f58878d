"""What must hold of a run after a fault is looked at, and each way in which it does not is seen."""

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.invariants import of_charges, of_record
from client_app.custodian.ledger.books import read_books
from federation.audit_files import audit_lines
from federation.audit_log import read_chain
from federation.study import Study
from simulation.engine import run_inline

SETTINGS = (
    "pretraining.source=random",
    "model.arguments.channels=[4,8]",
    "model.arguments.strides=[4,4]",
    "model.arguments.norm=[group,{num_groups: 2}]",
    "training.steps=2",
    "rounds=3",
    "seed=1",
    "compare=false",
    "audit=false",
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that nothing has happened to."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    run_inline([*SETTINGS, f"run_dir='{folder}'"], 4)
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / "run"))


def study_of(folder):
    return Study.model_validate_json((folder / "study.json").read_bytes())


def lines_of(folder):
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line["event"] == "round"]


def record(folder, lines=None):
    return list(of_record(folder, study_of(folder), lines or lines_of(folder)))


def changed(folder, **changes):
    """The rounds on record, the second one changed."""
    first, second, third = lines_of(folder)
    return [first, {**second, **changes}, third]


def charges_of(folder, change=lambda charges: charges, entries=None, name="birch"):
    books = read_books(folder / f"sites/{name}/ledger.sqlite")
    study = study_of(folder)
    charges = [
        {"number": each.number, "part": each.part, "round": each.round, "steps": each.cost.steps}
        for each in books.charges
    ]
    log = [entry for entry, _ in read_chain(audit_lines(folder / f"sites/{name}/audit"))]
    return list(of_charges(study, name, change(charges), entries or log, lines_of(folder)))


def log_of(folder, name="birch"):
    return [entry for entry, _ in read_chain(audit_lines(folder / f"sites/{name}/audit"))]


def test_nothing_is_wrong_with_a_run_that_nothing_has_happened_to(folder):
    assert record(folder) == []
    assert charges_of(folder) == []


def test_a_round_that_counts_twice_is_seen(folder):
    first, second, third = lines_of(folder)
    assert record(folder, [first, second, second, third])


def test_a_round_that_is_missing_is_seen(folder):
    first, _, third = lines_of(folder)
    assert record(folder, [first, third])


def test_a_released_model_that_is_not_that_of_the_rounds_is_seen(folder):
    models = folder / "models"
    for ending in ("json", "safetensors"):
        shutil.copy(models / f"round-001.{ending}", models / f"final.{ending}")
    assert record(folder) == ["the released model is not that of the rounds on record"]


def test_a_rounds_model_that_is_not_the_one_on_record_is_seen(folder):
    assert record(folder, changed(folder, model_sha256="0" * 64)) == [
        "round 2: its model is not the one on record"
    ]


def test_a_lost_round_that_changes_the_model_is_seen(folder):
    assert "another model" in record(folder, changed(folder, lost="too few", participants=[]))[0]


def test_a_hospital_that_is_missing_without_a_reason_is_seen(folder):
    three = lines_of(folder)[1]["participants"][:3]
    assert record(folder, changed(folder, participants=three)) == [
        "round 2 does not say why ['dogwood'] took no part"
    ]


def test_a_sum_over_too_few_is_seen(folder):
    assert "a sum over ['alder']" in record(folder, changed(folder, participants=["alder"]))[0]


def test_a_round_that_is_charged_twice_is_seen(folder):
    again = {"number": 99, "part": "train", "round": 2, "steps": 2}
    assert charges_of(folder, lambda charges: [*charges, again]) == ["train round 2 is charged twice"]


def test_a_charge_that_is_lost_is_seen(folder):
    problems = charges_of(folder, lambda charges: charges[1:])
    assert problems == [
        "the ledger has lost the charges [1], which the audit log has",
        "took part in round 1 and was not charged",
    ]


def test_a_charge_that_the_audit_log_has_twice_is_seen(folder):
    log = log_of(folder)
    again = next(entry for entry in log if entry.event == "reserved")
    assert charges_of(folder, entries=[*log, again]) == ["the audit log has the charges [1] twice"]


def test_a_charge_of_too_few_steps_is_seen(folder):
    assert charges_of(folder, lambda charges: [{**charges[0], "steps": 1}, *charges[1:]]) == [
        "the charges [1] are not of 2 steps"
    ]
