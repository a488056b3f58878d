import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client_app.custodian.ledger.cost import Cap, Cost
from client_app.custodian.ledger.ledger import Ledger
from federation.accounting import RdpFilter
from federation.errors import RefusedError
from federation.study import Study

ANNA, BEN, CARL = "anna", "ben", "carl"
EVERYBODY = {ANNA, BEN, CARL}


def rule_of(call):
    with pytest.raises(RefusedError) as refusal:
        call()
    return refusal.value.rule


class TestStart:
    def test_everybody_who_is_there_takes_part(self, start, studies):
        assert start(studies[0], EVERYBODY) == EVERYBODY

    def test_a_study_goes_on_with_whom_it_started_and_nobody_else(self, start, studies, make_ledger):
        start(studies[0], {ANNA, BEN})
        assert start(studies[0], {BEN, CARL}, book=make_ledger()) == {BEN}

    def test_whoever_is_not_accepted_is_not_set_aside_for(self, ledger, studies, cost):
        def refuse(members):
            raise RefusedError("cohort-too-small", f"{len(members)}")

        with pytest.raises(RefusedError, match="3"):
            ledger.budget.start(studies[0], "train", cost(), EVERYBODY, cap=None, accept=refuse)
        assert ledger.budget.histories() == {}

    def test_the_whole_study_is_set_aside_when_it_starts(self, start, studies, ledger, cost):
        start(studies[0], {ANNA}, cost(10))
        assert ledger.budget.histories() == {ANNA: (cost(10),)}

    def test_what_it_has_not_used_comes_back_when_it_ends(self, start, charge, studies, ledger, cost):
        start(studies[0], {ANNA}, cost(10))
        charge(studies[0], 1)
        charge(studies[0], 2, asked="b" * 64)
        ledger.budget.end(studies[0])
        assert ledger.budget.histories() == {ANNA: (cost(), cost())}

    def test_who_has_no_budget_left_is_left_out(self, start, studies, cost, cap):
        start(studies[0], {ANNA}, cost(100, 30.0))
        assert start(studies[1], {ANNA, BEN}, cost(100, 30.0), cap()) == {BEN}

    def test_a_study_that_is_larger_than_a_lifetime_is_for_nobody(self, start, studies, cost, cap):
        assert start(studies[0], EVERYBODY, cost(1000, 1.0), cap()) == set()

    def test_without_noise_there_is_no_bound_and_no_budget_left(self, start, studies, cap, cost):
        assert start(studies[0], {ANNA}, Cost(5, 1.0, None, None), cap()) == {ANNA}
        assert start(studies[1], {ANNA, BEN}, cost(), cap()) == {BEN}

    def test_the_cap_counts_who_the_policy_says_is_looking(self, start, studies, cap):
        shared = Cost(100, 1.0, 3.0, 40.0)  # little noise against everybody, much against the coordinator
        assert start(studies[0], {ANNA}, shared, cap(against="everybody")) == set()
        assert start(studies[1], {ANNA}, shared, cap(against="coordinator")) == {ANNA}

    def test_who_learns_and_who_measures_have_one_account(self, start, studies, cost, cap):
        start(studies[0], {ANNA}, cost(100, 30.0), part="test")
        assert start(studies[1], {ANNA}, cost(100, 30.0), cap()) == set()


class TestCharges:
    def test_a_round_is_charged_on_disk(self, start, charge, studies, make_ledger):
        start(studies[0], {ANNA})
        made = charge(studies[0])
        assert (made.number, made.round, made.steps, made.released) == (1, 1, 1, None)
        assert make_ledger().budget.charges() == [made]

    @pytest.mark.parametrize("again", [(2, "b" * 64), (1, "a" * 64), (1, "b" * 64)])
    def test_a_charged_round_and_those_before_it_never_come_again(
        self, again, start, charge, studies, make_ledger
    ):
        start(studies[0], {ANNA})
        charge(studies[0], 2)
        book, (number, asked) = make_ledger(), again
        assert rule_of(lambda: charge(studies[0], number, asked=asked, book=book)) == "round-burnt"
        assert book.budget.last(studies[0], "train").steps == 1, "a refused round costs nothing"

    def test_the_last_round_may_be_asked_again_with_the_same_model_at_no_cost(
        self, start, charge, studies, make_ledger
    ):
        start(studies[0], {ANNA})
        first = charge(studies[0])
        assert charge(studies[0], book=make_ledger()) == first

    def test_rounds_may_be_missed(self, start, charge, studies):
        start(studies[0], {ANNA})
        charge(studies[0], 1)
        assert charge(studies[0], 3).steps == 2

    def test_more_steps_than_the_study_has_are_refused(self, start, charge, studies, cost):
        start(studies[0], {ANNA}, cost(2))
        charge(studies[0], 1)
        charge(studies[0], 2)
        assert rule_of(lambda: charge(studies[0], 3)) == "steps-exhausted"

    def test_a_study_that_has_not_started_or_has_ended_is_not_charged(self, start, charge, studies, ledger):
        assert rule_of(lambda: charge(studies[0])) == "study-ended"
        start(studies[0], {ANNA})
        charge(studies[0], 1)
        ledger.budget.end(studies[0])
        assert charge(studies[0], 1).number == 1, "its last answer may still be asked for"
        assert rule_of(lambda: charge(studies[0], 2)) == "study-ended"

    def test_a_release_is_noted_once(self, start, charge, studies, ledger):
        start(studies[0], {ANNA})
        number = charge(studies[0]).number
        ledger.budget.release(number, "c" * 64, (7, "e" * 64))
        noted = ledger.budget.charges()
        ledger.budget.release(number, "d" * 64, (8, "f" * 64))
        assert ledger.budget.charges() == noted
        assert noted[0].released is not None
        assert noted[0].log == (7, "e" * 64)

    def test_who_withdraws_pays_for_the_rounds_before(self, start, charge, studies, ledger, cost):
        start(studies[0], {ANNA, BEN}, cost(10))
        charge(studies[0], 1)
        ledger.consent.withdraw({ANNA})
        charge(studies[0], 2)
        assert ledger.budget.histories() == {ANNA: (cost(),), BEN: (cost(10),)}
        assert start(studies[0], {ANNA, BEN}) == {BEN}
        assert start(studies[1], {ANNA, BEN}) == {BEN}


WHAT = st.sampled_from(["start", "charge", "end", "withdraw"])
STEPS = st.lists(st.tuples(WHAT, st.integers(0, 2), st.integers(0, 2)), max_size=25)


@given(steps=STEPS)
@settings(max_examples=40, deadline=None)
def test_no_history_ever_passes_the_cap(steps, tmp_path_factory, make_study):
    """Whatever is started, charged, ended and withdrawn, and in whatever order."""
    ledger = Ledger(tmp_path_factory.mktemp("any") / "ledger.sqlite", "0" * 64)
    limit = Cap(RdpFilter(1.0, 1e-5), "everybody")
    ids = []
    for title in ("First", "Second", "Third"):
        study: Study = make_study(title=title)
        ledger.studies.ask(study)
        ids.append(study.id)
    people = [ANNA, BEN, CARL]
    plans = [Cost(4, 1.0, noise, noise) for noise in (12.0, 17.0, 25.0)]
    rounds = dict.fromkeys(ids, 0)
    for what, which, who in steps:
        study = ids[which]
        if what == "start":
            ledger.budget.start(
                study, "train", plans[which], people[: who + 1], cap=limit, accept=lambda members: None
            )
        elif what == "charge":
            rounds[study] += 1
            one = Cost(1, 1.0, plans[which].noise_everybody, plans[which].noise_everybody)
            try:
                ledger.budget.reserve(
                    study, "train", round_number=rounds[study], asked="a", cost=one, log=(0, "")
                )
            except RefusedError:
                continue
        elif what == "end":
            ledger.budget.end(study)
        else:
            ledger.consent.withdraw({people[who]})
        for history in ledger.budget.histories().values():
            spends = [cost.spend("everybody") for cost in history]
            assert limit.filter.spent(spends) <= limit.filter.budget
    ledger.close()


RACER = """
import contextlib, sys, time
from pathlib import Path
from client_app.custodian.ledger import budget
from client_app.custodian.ledger.cost import Cap, Cost
from client_app.custodian.ledger.database import Database
from client_app.custodian.ledger.ledger import Ledger
from federation.accounting import RdpFilter

ledger = Ledger(Path(sys.argv[1]), "0" * 64)
looked = budget._with_budget


def slowly(*args):
    found = looked(*args)
    time.sleep(1)  # time enough for the other to look as well
    return found


budget._with_budget = slowly
if sys.argv[3] == "mutant":

    @contextlib.contextmanager
    def hasty(self):  # no lock between what is read and what is written
        yield self._connection

    Database.writing = hasty
cap = Cap(RdpFilter(1.0, 1e-5), "everybody")
plan = Cost(1, 1.0, 5.0, 5.0)  # more than half of the lifetime
print("ready", flush=True)
sys.stdin.readline()
members = ledger.budget.start(sys.argv[2], "train", plan, ["anna"], cap=cap, accept=lambda members: None)
print(len(members), flush=True)
"""


@pytest.fixture
def race(tmp_path, studies):
    """Two processes start a study each, at once, for a patient with budget for one; how many got it."""

    def run(kind):
        racers = [
            subprocess.Popen(
                [sys.executable, "-c", RACER, str(tmp_path / "ledger.sqlite"), study, kind],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for study in studies[:2]
        ]
        for racer in racers:
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            racer.stdin.write("go\n")
            racer.stdin.flush()
        return sorted(int(racer.communicate()[0]) for racer in racers)

    return run


RACE = "two relays race for a patient's last budget"


@pytest.mark.attack(RACE, held_by="one transaction that reads and writes")
@pytest.mark.deployment  # for its time
def test_two_processes_never_spend_the_same_budget(race):
    assert race("ours") == [0, 1]


@pytest.mark.mutant(RACE, "no lock between reading and writing")
@pytest.mark.deployment  # for its time
def test_without_one_transaction_both_would_get_it(race):
    assert race("mutant") == [1, 1]
