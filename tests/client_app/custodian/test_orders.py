"""Requests in any order, with deaths, restarts, withdrawals and revocations in between."""

import random
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest

from client_app.custodian.answers import Answers
from client_app.custodian.custodian import Custodian
from client_app.custodian.ledger.budget import Budget
from client_app.custodian.ledger.cost import Cap
from federation.messages import EvaluateReply, EvaluateRequest, TrainReply, TrainRequest

ORDER = "an order of requests and deaths in which one noise covers two answers, or an answer nobody paid for"
HELD_BY = "set aside, charged, kept, logged, released, in this order, and each on disk"
PLACES = (
    (Budget, "start"),
    (Budget, "reserve"),
    (Answers, "remember"),
    (Custodian, "_note"),
    (Budget, "release"),
    (Budget, "end"),
)


class Death(BaseException):
    """The process dies here."""


@pytest.fixture
def deadly(monkeypatch):
    """``deadly(draw, chance)``: from now on, what is on its way to the disk may die before it or after it."""

    def may_die(kind, name):
        step = getattr(kind, name)

        def died_perhaps(*args, **named):
            if draws and draws[0]():
                raise Death
            result = step(*args, **named)
            if draws and draws[0]():
                raise Death
            return result

        monkeypatch.setattr(kind, name, died_perhaps)

    draws = []
    for place in PLACES:
        may_die(*place)
    return lambda draw, chance: draws.__setitem__(slice(None), [lambda: draw.random() < chance])


def ask(draw, custodian, study, model):
    """One thing that a coordinator asks, or that the hospital's people do."""
    match draw.choices(("train", "evaluate", "withdraw", "revoke"), (50, 30, 8, 2))[0]:
        case "train":
            number = draw.choice((1, 2, 3, 3, 7))
            return custodian.handle(TrainRequest(study=study, round=number, parameters=model))
        case "evaluate":
            return custodian.handle(EvaluateRequest(study=study, parameters=model))
        case "withdraw":
            custodian.withdraw([f"0-{draw.choice(('', 'test-'))}{draw.randrange(12)}"], "Dr. Frei")
        case "revoke" if custodian.ledger.studies.find(study.id):
            custodian.approvals.revoke(study.id, "Dr. Frei")
    return None


@pytest.fixture
def play(make_custodian, make_study, start_of, deadly, tmp_path):
    """Play a game; returns what has left by study, part and round, and the custodian after all of it."""

    def played(seed):
        draw, left = random.Random(seed), defaultdict(set)  # noqa: S311
        studies = [
            make_study(
                title=f"Squares {number}",
                rounds=3,
                training={"steps": 1},
                privacy={"epsilon": draw.choice((2.0, 5.0, 8.0))},
                evaluation={"epsilon": draw.choice((1.0, 4.0))},
                task={"options": {"patients": 12, "held_out": 12}},
            )
            for number in range(2)
        ]
        models = [start_of(studies[0]) + np.float32(shift) for shift in (0, 0.1)]
        policy = {"lifetime": {"epsilon": draw.choice((12.0, 20.0))}, "minimum_patients": 5}

        def start():
            deadly(draw, 0)
            custodian = make_custodian(folder=tmp_path / str(seed), policy=policy)
            deadly(draw, 0.04)
            return custodian

        custodian = start()
        for _ in range(30):
            study = draw.choice(studies)
            try:
                reply = ask(draw, custodian, study, draw.choice(models))
            except Death:
                custodian.ledger.close()
                custodian = start()
                continue
            if isinstance(reply, TrainReply):
                left[study.id, "train", reply.round].add(reply.parameters.tobytes())
            if isinstance(reply, EvaluateReply):
                left[study.id, "test", 1].add((reply.healthy, reply.diseased))
        return left, start()

    return played


@pytest.mark.attack(ORDER, held_by=HELD_BY)
@pytest.mark.parametrize("seed", range(6))
def test_every_answer_was_paid_for_and_has_a_noise_of_its_own(seed, play):
    left, custodian = play(seed)
    assert left
    assert all(len(answers) == 1 for answers in left.values())
    charges = custodian.ledger.budget.charges()
    released = {(charge.study, charge.part, charge.round) for charge in charges if charge.released}
    assert set(left) <= released
    cap = Cap.of(custodian.config.policy.lifetime)
    assert all(cap.share(history) <= 1 for history in custodian.ledger.budget.histories().values())


@pytest.mark.mutant(ORDER, "what has left is computed anew, with whoever is still there")
def test_an_answer_that_is_computed_anew_can_be_another_under_the_same_noise(play, monkeypatch):
    class Forgets(Answers):
        last = None

    reserve = Budget.reserve

    def as_if_unreleased(self, *args, **named):
        return replace(reserve(self, *args, **named), released=None)

    monkeypatch.setattr("client_app.custodian.custodian.Answers", Forgets)
    monkeypatch.setattr(Budget, "reserve", as_if_unreleased)
    assert any(len(answers) > 1 for seed in range(6) for answers in play(seed)[0].values())
