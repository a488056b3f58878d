from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from client_app.custodian.approvals import Agreement
from client_app.custodian.ledger.budget import Budget
from federation.messages import EvaluateReply, EvaluateRequest, RefusalReply, TrainReply, TrainRequest

NEXT_YEAR = datetime.now(UTC).date() + timedelta(days=365)
TWICE = "two histograms under one noise, whose difference is without it"
HELD_OUT = {"task": {"options": {"held_out": 30}}}


@pytest.fixture
def study(make_study):
    return make_study(evaluation={"epsilon": 2.0}, **HELD_OUT)


@pytest.fixture
def evaluate(start_of):
    """Ask a custodian how a model does."""

    def ask(custodian, study, parameters=None):
        parameters = start_of(study) if parameters is None else parameters
        return custodian.handle(EvaluateRequest(study=study, parameters=parameters))

    return ask


@pytest.fixture
def train(start_of):
    def ask(custodian, study):
        return custodian.handle(TrainRequest(study=study, round=1, parameters=start_of(study)))

    return ask


def counts(reply):
    assert isinstance(reply, EvaluateReply), reply
    return np.array([*reply.healthy, *reply.diseased])


def test_a_site_tells_noised_counts_of_its_held_out_patients(make_custodian, study, evaluate):
    told = counts(evaluate(make_custodian(), study))
    assert 0 < told.sum() < 60
    assert not np.array_equal(told, np.rint(told))


def test_what_it_costs_is_charged_to_those_who_are_held_out(make_custodian, study, evaluate):
    custodian = make_custodian()
    evaluate(custodian, study)
    (charge,) = custodian.ledger.budget.charges()
    assert (charge.part, charge.steps, charge.cost.sampling_rate) == ("test", 1, 1.0)
    assert charge.released is not None
    spent = [history for history in custodian.ledger.budget.histories().values() if history == (charge.cost,)]
    assert len(spent) == 30


def test_the_log_tells_of_the_charge_before_the_release(make_custodian, study, evaluate):
    custodian = make_custodian()
    evaluate(custodian, study)
    told = [
        (entry.event, entry.facts["charge"]) for entry in custodian.audit.entries() if "charge" in entry.facts
    ]
    assert told == [("reserved", 1), ("released", 1)]


def test_the_same_question_has_the_same_answer_and_costs_nothing_more(make_custodian, study, evaluate):
    first, again = (counts(evaluate(make_custodian(), study)) for _ in range(2))
    assert np.array_equal(first, again)
    assert len(make_custodian().ledger.budget.charges()) == 1


@pytest.mark.attack(TWICE, held_by="the ledger charges a study's one evaluation, and gives it again")
def test_another_model_is_not_evaluated(make_custodian, study, evaluate, another_model):
    custodian = make_custodian()
    evaluate(custodian, study)
    reply = evaluate(custodian, study, another_model(study, 1))
    assert (reply.kind, reply.rule) == ("refused", "study-ended")


class NeverEnds(Budget):
    """Mutant: charges every evaluation as if it were the first."""

    def reserve(self, *args, **changes):
        with self._database.writing() as rows:
            rows.execute("DELETE FROM spends")
            rows.execute("UPDATE reservations SET ended = NULL")
        return super().reserve(*args, **changes)


@pytest.mark.mutant(TWICE, "a ledger that forgets the evaluation")
def test_a_ledger_that_forgets_gives_the_difference_away(make_custodian, study, evaluate, another_model):
    told = []
    for number in range(2):
        custodian = make_custodian()
        custodian.ledger.budget = NeverEnds(custodian.ledger._database)
        (custodian._folder / "studies" / study.id / "test.safetensors").unlink(missing_ok=True)
        told.append(counts(evaluate(custodian, study, another_model(study, number))))
    difference = told[0] - told[1]
    assert np.allclose(difference, np.rint(difference), atol=1e-4), "the noise has cancelled"


def test_a_study_that_asks_for_none_gets_none(make_custodian, make_study, evaluate):
    reply = evaluate(make_custodian(), make_study(**HELD_OUT))
    assert (reply.kind, reply.rule) == ("refused", "not-in-the-study")


def test_too_few_held_out_patients_are_not_told_of_and_the_site_trains_on(
    make_custodian, make_study, evaluate, train
):
    study = make_study(evaluation={"epsilon": 2.0}, task={"options": {"held_out": 19}})
    custodian = make_custodian()
    assert evaluate(custodian, study).rule == "held-out-too-few"
    assert custodian.ledger.budget.charges() == []
    assert isinstance(train(custodian, study), TrainReply)


def test_whoever_has_withdrawn_is_not_counted(make_custodian, study, evaluate, make_study, no_privacy):
    study = make_study(privacy=no_privacy, evaluation={}, **HELD_OUT)
    custodian = make_custodian()
    custodian.withdraw([f"0-test-{number}" for number in range(4)], by="Dr. Frei")
    assert counts(evaluate(custodian, study)).sum() == 26


def test_whoever_has_no_budget_left_is_not_counted(make_custodian, make_study, evaluate):
    lifetime = {"policy": {"lifetime": {"epsilon": 3.0}}}
    first = make_study(evaluation={"epsilon": 2.0}, privacy={"epsilon": 2.0}, **HELD_OUT)
    second = make_study(title="Again", evaluation={"epsilon": 2.0}, privacy={"epsilon": 0.5}, **HELD_OUT)
    custodian = make_custodian(**lifetime)
    counts(evaluate(custodian, first))
    reply = evaluate(custodian, second)
    assert isinstance(reply, RefusalReply)
    assert reply.rule in {"held-out-too-few", "cohort-too-small"}
    assert len(custodian.ledger.budget.charges()) == 1


def test_an_agreed_cap_below_it_is_kept(make_custodian, study, evaluate, train):
    custodian = make_custodian(approval="operator")
    train(custodian, study)
    custodian.approvals.approve(study.id, Agreement("Dr. Frei", NEXT_YEAR, epsilon_cap=1.5))
    assert evaluate(custodian, study).rule == "epsilon-cap-reached"
    assert custodian.ledger.budget.charges() == []
    assert not custodian.ledger.budget.started(study.id, "test"), "and nothing is set aside"


def test_training_goes_on_as_if_nobody_had_asked(make_custodian, study, evaluate, start_of, tmp_path):
    def updates(folder, with_evaluation):
        custodian, start = make_custodian(folder=folder), start_of(study)
        first = custodian.handle(TrainRequest(study=study, round=1, parameters=start))
        if with_evaluation:
            counts(evaluate(custodian, study))
        second = custodian.handle(TrainRequest(study=study, round=2, parameters=start))
        return first.parameters, second.parameters

    plain, asked = updates(tmp_path / "a", False), updates(tmp_path / "b", True)
    assert all(np.array_equal(one, other) for one, other in zip(plain, asked, strict=True))


@pytest.mark.parametrize("parameters", [np.zeros(3, np.float32), "not a number"], ids=["shape", "nan"])
def test_a_model_that_is_none_costs_nothing(parameters, make_custodian, study, evaluate, start_of):
    if isinstance(parameters, str):
        parameters = np.full_like(start_of(study), np.nan)
    reply = evaluate(make_custodian(), study, parameters)
    assert (reply.kind, reply.rule) == ("failed", "MessageError")
    assert make_custodian().ledger.budget.charges() == []
