"""What people read before they approve, of whom the promise holds against and how updates travel."""

from datetime import UTC, date, datetime

import pytest
from rich.console import Console

from client_app.custodian.ledger.studies import Approval, Proposal
from client_app.custodian.policy import Decision, Lifetime
from client_app.desk import review
from client_app.desk.questions import Demand, Room, StudyView
from client_app.desk.review import study_facts, study_table
from federation.against import guarantees
from federation.promise import noise_multiplier
from federation.secure_sum.roster import SiteKey

NOW = datetime(2026, 1, 1, tzinfo=UTC)
UNSAID = "a promise that rests on other hospitals, approved by somebody who was told one number"


def words(table):
    """A table as plain text, its lines drawn together."""
    console = Console(width=4000, color_system=None)
    with console.capture() as printed:
        console.print(table)
    return " ".join(printed.get().split())


@pytest.fixture
def shared(make_study):
    """A study of four hospitals that share the noise."""
    return make_study(
        aggregation="secure",
        secure_sum={"colluding": 1, "dropouts": 1, "lost_rounds": 1, "weight_cap": 100},
        privacy={"mode": "distributed"},
        training={"steps": 1},
        evaluation={"epsilon": 2.0},
        participants=["alder", "birch", "cedar", "dogwood"],
    )


def view_of(study, approval=None, **changes):
    values = {"rounds": 0, "epsilon": 0.0, "epsilon_everybody": 0.0} | changes
    return StudyView(
        proposal=Proposal(study, NOW, approval, None, None),
        decision=Decision(allowed=True, rule="allowed", reason=""),
        release="1.0",
        **values,
    )


def shown(study, room=None, **changes):
    demand = Demand(numbers=458, noise_multiplier=noise_multiplier(study))
    return words(study_facts(view_of(study, **changes), demand, room))


def unsaid(text, study):
    """What of the study's numbers nobody was told."""
    return [
        each.against for each in guarantees(study) if f"against {each.title}. {each.assumption}" not in text
    ]


class TestBeforeApproval:
    @pytest.mark.attack(UNSAID, held_by="each who may look has a line: at what ε, resting on what")
    def test_all_three_numbers_are_there_with_what_they_rest_on(self, shared):
        text = shown(shared)
        assert "waits for somebody to decide" in text
        assert len(guarantees(shared)) == 3
        assert not unsaid(text, shared)

    @pytest.mark.mutant(UNSAID, "shows the study's own number and no other")
    def test_with_one_number_somebody_is_missing(self, shared, monkeypatch):
        monkeypatch.setattr(review, "guarantees", lambda study: guarantees(study)[:1])
        assert unsaid(shown(shared), shared) == ["peer", "everybody"]

    def test_the_headline_says_against_whom_and_a_hospital_s_share_is_no_whole(self, shared):
        text = shown(shared)
        assert "at δ = 1e-05 against the coordinator with 1 of 4 hospitals, if every round runs" in text
        assert "with this hospital's share of the noise" in text
        assert "own noise" not in text

    def test_the_held_out_have_three_numbers_too(self, shared):
        text = shown(shared)
        assert "Of each who is held out: ε = 2 against the coordinator with 1 of 4 hospitals, " in text

    def test_it_says_how_updates_travel(self, shared, make_study):
        assert (
            "updates travel in secure sums over at least 3 of 4 hospitals, up to 1 of them in league with "
            "the coordinator"
        ) in shown(shared)
        assert "a round counts with 3 of 4 hospitals" in shown(shared)
        assert "updates travel each by itself, so that the coordinator sees it" in shown(make_study())

    def test_it_says_whether_the_keys_of_all_in_its_sums_are_pinned(self, shared, make_study, make_roster):
        def said(study, roster):
            return words(study_facts(view_of(study), "too large", None, roster))

        own = SiteKey(site="alder", key="a1" * 32)
        whole = make_roster(own, birch="b1" * 32, dogwood="d0" * 32)
        assert f"in the roster that is pinned here, version 1: {whole.fingerprint}" in said(shared, whole)
        assert "has no key of birch, dogwood, so it will be REFUSED until" in said(shared, make_roster(own))
        assert "no roster is pinned here, so it will be REFUSED until one is" in said(shared, None)
        assert "not known: roster.json is damaged" in said(shared, "roster.json is damaged")
        assert "roster" not in said(make_study(), None)

    def test_noise_of_one_s_own_is_one_line(self, make_study):
        study = make_study()
        text = shown(study)
        assert not unsaid(text, study)
        assert "even if the coordinator and all other hospitals work together" in text
        assert "held out" not in text

    def test_what_could_not_be_computed_is_said_to_be_unknown(self, shared):
        text = words(study_facts(view_of(shared), "too large", None))
        assert "against the coordinator with 1 of 4 hospitals; what it is against others is not known" in text

    def test_the_budget_says_whom_the_lifetime_looks_at(self, shared):
        room = Room(
            started=False,
            nobody=False,
            newcomers=True,
            known=30,
            room=30,
            minimum=20,
            left=4.0,
            lifetime=Lifetime(epsilon=30, delta=1e-5, against="coordinator"),
        )
        assert "against the coordinator and the hospitals in league with it, for whoever" in shown(
            shared, room
        )

    def test_a_study_for_which_nobody_has_room_is_not_shown_as_one_that_fits(self, shared):
        lifetime = Lifetime(epsilon=8, delta=1e-5, against="everybody")
        room = Room(
            started=False,
            nobody=True,
            newcomers=False,
            known=None,
            room=None,
            minimum=20,
            left=4.9,
            lifetime=lifetime,
        )
        text = shown(shared, room)
        assert "NOBODY has room for it" in text
        assert "REFUSED as cohort-too-small" in text
        assert "left after it" not in text


class TestSoFar:
    def test_both_numbers_are_told_where_they_differ(self, shared):
        view = view_of(shared, rounds=2, epsilon=2.0, epsilon_everybody=3.5)
        assert "2.00 (3.50)" in words(study_table([view]))
        assert "in brackets against everybody together" in words(study_table([view]))
        assert (
            "ε = 2 against the coordinator with 1 of 4 hospitals and ε = 3.5 against everybody together"
        ) in shown(shared, rounds=2, epsilon=2.0, epsilon_everybody=3.5)

    def test_what_nothing_bounds_is_not_called_private_nor_unprivate(self, shared):
        view = view_of(shared, rounds=2, epsilon=2.0, epsilon_everybody=None)
        assert "2.00 (no bound)" in words(study_table([view]))

    def test_where_they_are_one_there_is_one(self, make_study):
        view = view_of(make_study(), rounds=2, epsilon=2.0, epsilon_everybody=2.0)
        assert "2.00 (" not in words(study_table([view]))

    def test_a_cap_says_whom_it_is_against(self, shared):
        approval = Approval("Dr. Frei", NOW, date(2027, 1, 1), 6.0, "1.0")
        assert "up to ε = 6 against the coordinator with 1 of 4 hospitals" in shown(shared, approval=approval)
