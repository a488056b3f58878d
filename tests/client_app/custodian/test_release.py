from dataclasses import replace

import numpy as np
import pytest

from client_app.custodian import release
from client_app.custodian.release import REASON_STAYS, Terms, require_releasable
from federation.errors import ReleaseError
from federation.messages import (
    BINS,
    DescribeReply,
    DescribeRequest,
    EvaluateReply,
    EvaluateRequest,
    RefusalReply,
    TrainReply,
    TrainRequest,
)

PATIENT = "Erika Mustermann"
SIZE = 5
COUNTS = tuple(k + 0.25 for k in range(2 * BINS))
TERMS = Terms("alder", description="X-rays", declared_patients=20, trainable=SIZE, steps=4, counts=COUNTS)
UPDATE = np.arange(SIZE, dtype=np.float32)
SMUGGLED = "a value smuggled out in a reply"


class Talkative(TrainReply):
    """An update with something beside it."""

    accuracy: float = 0.97


def update(**changes):
    return TrainReply.model_construct(
        **{"site": "alder", "round": 2, "steps": 4, "parameters": UPDATE, "heads": (), **changes}
    )


def counts(healthy=COUNTS[:BINS], diseased=COUNTS[BINS:], **changes):
    fields = {"site": "alder", "healthy": healthy, "diseased": diseased, "heads": ()}
    return EvaluateReply.model_construct(**{**fields, **changes})


def beside(reply, **fields):
    """``reply`` with fields that its kind does not have."""
    vars(reply).update(fields)
    return reply


def refusal(**changes):
    fields = {"site": "alder", "kind": "refused", "rule": "round-burnt", "reason": "ask for a later one"}
    return RefusalReply.model_construct(**{**fields, "reference": "0123456789ab", "heads": (), **changes})


def description(**changes):
    fields = {"site": "alder", "declared_patients": 20, "description": "X-rays", "heads": ()}
    return DescribeReply.model_construct(**{**fields, **changes})


@pytest.fixture
def train(make_study):
    return TrainRequest(study=make_study(), round=2, parameters=UPDATE)


@pytest.fixture
def describe(make_study):
    return DescribeRequest(study=make_study())


@pytest.fixture
def evaluate(make_study):
    return EvaluateRequest(study=make_study(), parameters=UPDATE)


def test_what_was_asked_for_may_leave(train, describe, evaluate):
    assert require_releasable(counts(), evaluate, TERMS) == counts()
    assert require_releasable(update(), train, TERMS) == update()
    assert require_releasable(description(), describe, TERMS) == description()
    for request in (train, describe):
        assert require_releasable(refusal(), request, TERMS) == refusal()


SMUGGLERS = {
    "a metric beside it": lambda: Talkative(site="alder", round=2, steps=4, parameters=UPDATE),
    "a field of its own": lambda: beside(update(), accuracy=0.97),
    "a count in the steps": lambda: update(steps=137),
    "a count in the round": lambda: update(round=137),
    "a text for a number": lambda: update(steps=PATIENT),
    "another site's name": lambda: update(site="birch"),
    "a patient's name for a site's": lambda: update(site=PATIENT),
    "another layout": lambda: update(parameters=UPDATE.reshape(1, SIZE)),
    "more numbers than learn": lambda: update(parameters=np.zeros(SIZE + 1, np.float32)),
    "fewer numbers than learn": lambda: update(parameters=np.zeros(SIZE - 1, np.float32)),
    "digits that float32 lacks": lambda: update(parameters=UPDATE.astype(np.float64)),
    "names for numbers": lambda: update(parameters=np.array([PATIENT] * SIZE)),
    "objects for numbers": lambda: update(parameters=np.array([PATIENT] * SIZE, dtype=object)),
    "a message in a NaN": lambda: update(parameters=np.full(SIZE, np.nan, np.float32)),
    "a list for an array": lambda: update(parameters=[1.0] * SIZE),
    "a description for an update": description,
    "nothing": lambda: None,
    "a record of images": lambda: {"images": UPDATE},
    "a patient in the reason": lambda: refusal(kind="failed", reason=f"{PATIENT} has no image"),
    "a patient in the rule": lambda: refusal(rule=f"no image of {PATIENT}"),
    "a patient in the reference": lambda: refusal(reference=PATIENT),
    "a long reason": lambda: refusal(reason="0" * 1001),
}


@pytest.mark.attack(SMUGGLED, held_by="an allow-list of typed records at the site's own door")
@pytest.mark.parametrize("what", SMUGGLERS)
def test_anything_else_stays(what, train):
    with pytest.raises(ReleaseError) as error:
        require_releasable(SMUGGLERS[what](), train, TERMS)
    assert PATIENT not in str(error.value)
    assert "137" not in str(error.value)


@pytest.mark.attack(SMUGGLED, held_by="an allow-list of typed records at the site's own door")
@pytest.mark.parametrize(
    "changes",
    [{"declared_patients": 21}, {"description": PATIENT}, {"site": "birch"}],
)
def test_a_description_says_what_the_site_has_declared(changes, describe):
    with pytest.raises(ReleaseError):
        require_releasable(description(**changes), describe, TERMS)


HISTOGRAMS = {
    "counts without noise": lambda: counts(tuple(map(float, range(BINS))), tuple(map(float, range(BINS)))),
    "counts that were not charged": lambda: counts(healthy=(9.25, *COUNTS[1:BINS])),
    "a score for each patient": lambda: counts(diseased=COUNTS),
    "a metric beside it": lambda: beside(counts(), accuracy=0.97),
    "an update for a histogram": update,
}


@pytest.mark.attack(SMUGGLED, held_by="an allow-list of typed records at the site's own door")
@pytest.mark.parametrize("what", HISTOGRAMS)
def test_of_held_out_patients_only_charged_noised_counts_leave(what, evaluate):
    reply = HISTOGRAMS[what]()
    told = (*reply.healthy, *reply.diseased) if what == "counts without noise" else COUNTS
    with pytest.raises(ReleaseError):
        require_releasable(reply, evaluate, replace(TERMS, counts=told))


def test_a_histogram_is_no_answer_to_a_round(train):
    with pytest.raises(ReleaseError):
        require_releasable(counts(), train, TERMS)


def test_a_study_that_promises_nothing_tells_whole_counts(evaluate):
    whole = tuple(map(float, range(BINS)))
    terms = replace(TERMS, counts=(*whole, *whole), noised=False)
    assert require_releasable(counts(whole, whole), evaluate, terms).healthy == whole


def test_what_is_not_a_rules_refusal_tells_no_reason(train):
    silent = refusal(kind="failed", rule="DataError", reason=REASON_STAYS)
    assert require_releasable(silent, train, TERMS) == silent


@pytest.mark.mutant(SMUGGLED, "a door that looks at the type and not at the fields")
def test_a_door_that_only_knows_types_lets_a_metric_out(train, monkeypatch):
    monkeypatch.setattr(release, "_require_plain", lambda reply: None)
    told = require_releasable(beside(update(), accuracy=0.97), train, TERMS)
    assert vars(told)["accuracy"] == 0.97


@pytest.mark.mutant(SMUGGLED, "a door that does not look at the numbers")
def test_a_door_that_does_not_measure_lets_another_layout_out(train, monkeypatch):
    monkeypatch.setattr(release, "_require_update", lambda parameters, trainable: None)
    told = require_releasable(update(parameters=np.zeros(SIZE + 1, np.float32)), train, TERMS)
    assert told.parameters.shape == (SIZE + 1,)
