"""What a ledger comes to, from books that are written here by hand."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from client_app.books import figures, words
from client_app.books.page import render
from client_app.books.statement import BANDS, statement_of
from client_app.books.tables import patients_table, studies_table
from client_app.custodian.ledger.books import Books, Membership, Reservation
from client_app.custodian.ledger.budget import Charge
from client_app.custodian.ledger.cost import Cap, Cost
from client_app.custodian.ledger.studies import Proposal
from federation.accounting import RdpFilter, epsilon_spent
from federation.page.numbers import cost

START = datetime(2026, 1, 1, tzinfo=UTC)
FILTER = RdpFilter(8.0, 1e-5)
CAP = Cap(FILTER, "everybody")
HERE, LEFT_AFTER_ONE = Membership("a", "train", None), Membership("a", "train", 2)


def using(share, steps=1):
    """A cost that uses ``share`` of the cap: σ² = αT / 2ρ."""
    noise = math.sqrt(FILTER.order * steps / (2 * share * FILTER.budget))
    return Cost(steps, 1.0, noise, noise)


def charge(number, price, study="a"):
    return Charge(
        number=number,
        study=study,
        part="train",
        round=number,
        asked="0" * 64,
        cost=price,
        log=(0, "0" * 64),
        reserved=(START + timedelta(days=number)).isoformat(),
        released=None,
        steps=number,
    )


def reservation(plan, study="a", ended=START):
    return Reservation(study, "train", plan, START, ended, patients=0, left=0)


@pytest.fixture
def state(make_site):
    """The statement of some books, under a cap of ε = 8."""
    config = make_site(
        policy={"lifetime": {"epsilon": 8.0, "delta": 1e-5, "against": "everybody"}, "maximum_epsilon": 3.0}
    )

    def stated(charges=(), patients=None, reservations=(), proposals=(), withdrawn=0):
        books = Books(
            "0" * 64, tuple(proposals), tuple(reservations), tuple(charges), patients or {}, withdrawn
        )
        return statement_of(config, books)

    return stated


@pytest.mark.parametrize(
    ("share", "band"),
    [(0.1, 0), (0.24, 0), (0.26, 1), (0.51, 2), (0.76, 3), (0.999, 3), (1.0, 4), (1.2, 4)],
)
def test_a_patient_is_in_the_band_of_the_share_that_is_used(state, share, band):
    patients = state([charge(1, using(share))], {(HERE,): 30}).patients
    assert [name for name, count in patients.bands.items() if count] == [BANDS[band]]


def test_whoever_was_in_a_study_without_noise_has_no_budget_left(state):
    patients = state([charge(1, Cost(1, 1.0, None, None))], {(HERE,): 30}).patients
    assert (patients.bands["no budget left"], patients.room, patients.most) == (30, 0, math.inf)


def test_all_of_the_cap_is_the_caps_epsilon_and_nothing_is_none(state):
    assert CAP.epsilon(1.0) == pytest.approx(8.0)
    assert CAP.epsilon(0.0) == 0
    assert state([charge(1, using(1.0))], {(HERE,): 30}).patients.most == pytest.approx(8.0)


def test_the_one_in_the_middle_is_half_way_by_heads(state):
    charges = [charge(1, using(0.2)), charge(2, using(0.3))]
    few, many = {(HERE,): 10, (LEFT_AFTER_ONE,): 30}, {(HERE,): 30, (LEFT_AFTER_ONE,): 10}
    assert state(charges, few).patients.median == pytest.approx(CAP.epsilon(0.2))
    assert state(charges, many).patients.median == pytest.approx(CAP.epsilon(0.5))
    assert state(charges, few).patients.most == pytest.approx(CAP.epsilon(0.5))


def test_what_is_set_aside_counts_as_spent_but_is_not_drawn(state):
    going = reservation(using(0.9, steps=9), ended=None)
    statement = state([charge(1, using(0.1))], {(HERE,): 30}, [going])
    assert statement.patients.bands["75–100 %"] == 30
    assert statement.history[-1].most == pytest.approx(CAP.epsilon(0.1))


def test_who_has_withdrawn_bears_no_later_round(state):
    charges = [charge(1, using(0.2)), charge(2, using(0.3))]
    statement = state(charges, {(LEFT_AFTER_ONE,): 30}, [reservation(using(0.9), ended=None)])
    assert statement.patients.bands["0–25 %"] == 30
    assert [moment.most for moment in statement.history] == [pytest.approx(CAP.epsilon(0.2))] * 2


def test_history_never_falls_and_ends_where_the_patients_are(state):
    other = Membership("b", "train", None)
    charges = [charge(1, using(0.1)), charge(2, using(0.2), study="b"), charge(3, using(0.1))]
    statement = state(charges, {(HERE,): 20, (HERE, other): 30})
    assert [moment.most for moment in statement.history] == [
        pytest.approx(CAP.epsilon(share)) for share in (0.1, 0.3, 0.4)
    ]
    assert statement.history[-1].most == pytest.approx(statement.patients.most)
    assert statement.history[-1].median == pytest.approx(statement.patients.median)


def test_room_is_for_the_largest_study_that_the_policy_allows(state):
    def room(share):
        return state([charge(1, using(share))], {(HERE,): 30}).patients.room

    assert (room(0.01), room(0.99)) == (30, 0)


class TestSharedNoise:
    """Noise of which all hospitals have a share costs one ε before the coordinator, another before all."""

    COST = Cost(1, 1.0, noise_everybody=4.0, noise_coordinator=8.0)

    @pytest.fixture
    def shared(self, make_study):
        return make_study(
            aggregation="secure",
            secure_sum={"colluding": 1, "dropouts": 1, "lost_rounds": 1, "weight_cap": 100},
            privacy={"mode": "distributed"},
            training={"steps": 1},
            participants=["alder", "birch", "cedar", "dogwood"],
        )

    @pytest.fixture
    def stated(self, make_site, shared):
        """What books with one charge of it come to, under a cap that looks at ``against``."""

        def made(against="everybody", price=self.COST, study=shared):
            config = make_site(policy={"lifetime": {"epsilon": 8.0, "delta": 1e-5, "against": against}})
            membership = Membership(study.id, "train", None)
            books = Books(
                "0" * 64,
                (Proposal(study, START, None, None, None),),
                (reservation(replace(price, steps=2), study.id, ended=None),),
                (charge(1, price, study.id),),
                {(membership,): 30},
                0,
            )
            return statement_of(config, books)

        return made

    def test_a_study_has_cost_its_promise_and_more_before_everybody(self, stated):
        (account,) = stated().studies
        assert account.epsilon == epsilon_spent(8.0, 1.0, 1, 1e-5)
        assert account.epsilon_set_aside == epsilon_spent(8.0, 1.0, 2, 1e-5)
        assert account.everybody == epsilon_spent(4.0, 1.0, 1, 1e-5) > account.epsilon
        assert account.everybody_set_aside == epsilon_spent(4.0, 1.0, 2, 1e-5)

    def test_a_share_that_bounds_nothing_is_no_bound_before_everybody(self, stated):
        (account,) = stated(price=replace(self.COST, noise_everybody=None)).studies
        assert math.isfinite(account.epsilon)
        assert account.everybody == math.inf

    def test_patients_have_used_what_the_cap_looks_at(self, stated):
        assert stated("everybody").patients.most > stated("coordinator").patients.most

    @pytest.mark.parametrize(
        ("against", "looking"),
        [
            ("everybody", "everybody together"),
            ("coordinator", "the coordinator and the hospitals in league with it"),
        ],
    )
    def test_page_and_tables_say_which_of_the_two_the_cap_limits(self, stated, against, looking):
        statement = stated(against)
        page = render(statement)
        assert f"The cap is against {looking}." in page
        assert ("ε bounds what anybody can learn" in page) == (against == "everybody")
        assert f"against {looking}.)" in page
        assert f"against {looking}" in patients_table(statement).columns[0].header

    def test_page_and_table_tell_both_costs_and_whom_the_promise_was_against(self, stated):
        statement = stated()
        (account,) = statement.studies
        page = render(statement)
        assert "ε is against the coordinator with 1 of 4 hospitals" in page
        for epsilon in (account.epsilon, account.everybody):
            assert f">{cost(epsilon)}</td>" in page
            assert any(f"{cost(epsilon)} at δ" in cell for cell in cells(studies_table(statement)))

    def test_a_cap_that_does_not_look_at_everybody_says_that_they_may_have_learnt_more(
        self, stated, make_study
    ):
        def noted(**how):
            return " ".join(note.text for note in words.notes(stated(**how)))

        said = "against everybody together they have cost more than it counts"
        assert said in noted(against="coordinator")
        assert said not in noted(against="everybody")
        assert said not in noted(against="coordinator", price=Cost(1, 1.0, 8.0, 8.0), study=make_study())


def cells(table):
    """What stands in a table."""
    return [cell for column in table.columns for cell in column.cells]


def test_of_an_empty_ledger_nothing_is_drawn(state):
    statement = state()
    assert figures.spent_over_time(statement) is None
    assert words.headline(statement) == "No patient of this hospital has given anything yet"


def test_a_bound_that_is_lost_is_said_aloud_and_not_drawn(state):
    statement = state([charge(1, using(0.1)), charge(2, Cost(1, 1.0, None, None))], {(HERE,): 30})
    assert "promised them nothing" in words.headline(statement)
    assert [note.kind for note in words.notes(statement)][-1] == "alarm"
    assert cost(CAP.epsilon(0.1)) in figures.spent_over_time(statement)


def test_that_a_few_have_no_budget_left_is_not_told(state):
    def noted(count):
        return len(words.notes(state([charge(1, using(1.0))], {(HERE,): count})))

    assert (noted(19), noted(20)) == (0, 1)


def test_a_strangers_title_is_text_in_the_figure(state, make_study):
    study = make_study(title="<script>1</script>")
    proposal = Proposal(study, START, None, None, None)
    statement = state(
        [charge(1, using(0.1), study.id)],
        {(Membership(study.id, "train", None),): 30},
        [reservation(using(0.2), study.id)],
        [proposal],
    )
    drawn = figures.spent_over_time(statement)
    assert "&lt;script&gt;" in drawn
    assert "<script" not in drawn


def test_many_studies_at_once_each_keep_their_name(state, make_study):
    studies = [make_study(title=f"Study number {number}") for number in range(9)]
    statement = state(
        [charge(number, using(0.01), study.id) for number, study in enumerate(studies, 1)],
        {tuple(Membership(study.id, "train", None) for study in studies): 30},
        [reservation(using(0.05), study.id, START + timedelta(days=2)) for study in studies],
        [Proposal(study, START, None, None, None) for study in studies],
    )
    assert figures.spent_over_time(statement).count("Study number") == 9
