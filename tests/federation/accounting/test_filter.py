"""The filter against everything that later studies may be made of, and against weakened filters."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.accounting import pld_epsilon
from federation.accounting import RdpFilter, Spend, epsilon_of
from federation.accounting.renyi import conversion, renyi_cost
from federation.errors import PrivacyError

EPSILON, DELTA = 3.0, 1e-5
SPENDS = st.builds(
    Spend,
    noise_multiplier=st.sampled_from([0.8, 1.0, 2.0, 5.0, 20.0, 50.0]),
    sampling_rate=st.sampled_from([0.01, 0.05, 0.3, 1.0]),
    steps=st.sampled_from([1, 3, 10, 100, 300]),
)


class ForgetsTheLast(RdpFilter):
    """Mutant: looks only at what is already spent."""

    def can_spend(self, history, planned):
        return self.spent(history) <= self.budget


class ForgetsTheFirst(RdpFilter):
    """Mutant: does not count one spend."""

    def can_spend(self, history, planned):
        return super().can_spend(history[1:], planned)


class CountsStudiesAlone(RdpFilter):
    """Mutant: every study may spend the budget anew."""

    def can_spend(self, history, planned):
        return super().can_spend([], planned)


class ForgetsTheConversion(RdpFilter):
    """Mutant: takes Rényi's ρ for ε, as if δ were free."""

    def can_spend(self, history, planned):
        return self.spent([*history, planned]) <= self.epsilon


def spend_all(gate, wishes):
    """What goes through when each wish is asked about in turn; those that are refused are left out."""
    history = []
    for wish in wishes:
        if gate.can_spend(history, wish):
            history.append(wish)
    return history


def too_much(gate, wishes):
    """By how much ε of what went through is above the budget, by the accountant of the whole history."""
    return epsilon_of(spend_all(gate, wishes), gate.delta) - gate.epsilon


@pytest.mark.deployment  # for its time
@settings(max_examples=40, deadline=None)
@given(st.lists(SPENDS, min_size=1, max_size=8))
def test_what_goes_through_never_costs_more_than_the_budget(wishes):
    history = spend_all(RdpFilter(EPSILON, DELTA), wishes)
    assert epsilon_of(history, DELTA) <= EPSILON


GREEDY = [Spend(20.0, 1.0, 10)] * 30 + [Spend(1.0, 0.01, 100)] * 20


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 3.0, 8.0])
def test_a_budget_spent_to_its_end_is_kept_and_mostly_used(epsilon):
    gate = RdpFilter(epsilon, DELTA)
    history = spend_all(gate, [Spend(40.0, 1.0, 1)] * 4000)
    assert 0.85 * epsilon < pld_epsilon((Spend(40.0, 1.0, len(history)),), DELTA) <= epsilon


@pytest.mark.parametrize(
    "mutant", [ForgetsTheLast, ForgetsTheFirst, CountsStudiesAlone, ForgetsTheConversion]
)
def test_a_filter_that_counts_less_is_caught(mutant):
    wishes = [Spend(6.0, 1.0, 10), Spend(2.0, 1.0, 10), Spend(5.0, 1.0, 10), *GREEDY]
    assert too_much(RdpFilter(EPSILON, DELTA), wishes) <= 0
    assert too_much(mutant(EPSILON, DELTA), wishes) > 0


@settings(max_examples=60, deadline=None)
@given(st.lists(SPENDS, max_size=6), SPENDS, SPENDS)
def test_what_is_refused_stays_refused_and_less_is_allowed_where_more_is(history, planned, another):
    gate = RdpFilter(EPSILON, DELTA)
    if not gate.can_spend(history, planned):
        assert not gate.can_spend([*history, another], planned)
    else:
        assert gate.can_spend(history[1:], planned)
        quieter = Spend(2 * planned.noise_multiplier, planned.sampling_rate, planned.steps)
        assert gate.can_spend(history, quieter)


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 8.0, 10.0, 50.0])
@pytest.mark.parametrize("delta", [1e-4, 1e-6])
def test_order_and_budget_depend_on_the_promise_alone_and_convert_to_it(epsilon, delta):
    gate = RdpFilter(epsilon, delta)
    assert (gate.order, gate.budget) == (RdpFilter(epsilon, delta).order, RdpFilter(epsilon, delta).budget)
    assert gate.budget + conversion(gate.order, delta) == pytest.approx(epsilon)


@pytest.mark.parametrize("order", [2, 4, 16])
def test_a_whole_cohort_s_step_has_the_gaussian_s_divergence(order):
    assert renyi_cost([Spend(3.0, 1.0, 7)], order) == pytest.approx(7 * order / (2 * 3.0**2))


@pytest.mark.parametrize("order", [2, 3, 8])
def test_a_sampled_step_s_divergence_is_the_integral(order):
    noise, rate, grid = 1.3, 0.2, 4001
    # E over the noise alone of (density with the patient / density without)^order, by the rectangle rule.
    width, total = 24 / (grid - 1), 0.0
    for number in range(grid):
        x = -8 + number * width
        ratio = 1 - rate + rate * math.exp((2 * x - 1) / (2 * noise**2))
        total += width * ratio**order * math.exp(-(x**2) / (2 * noise**2)) / (noise * math.sqrt(2 * math.pi))
    assert renyi_cost([Spend(noise, rate, 1)], order) == pytest.approx(
        math.log(total) / (order - 1), rel=1e-5
    )


def test_a_spend_beyond_floating_point_is_refused():
    assert not RdpFilter(EPSILON, DELTA).can_spend([], Spend(1e-160, 0.5, 1))
    assert not RdpFilter(0.1, DELTA).can_spend([], Spend(0.01, 1e-6, 1))


@pytest.mark.parametrize(
    ("epsilon", "delta", "said"),
    [
        (0.0, 1e-5, "epsilon=0.0"),
        (math.inf, 1e-5, "epsilon=inf"),
        (math.nan, 1e-5, "epsilon=nan"),
        (1.0, 1.0, "delta=1.0"),
        (1.0, 0.0, "delta=0.0"),
        (1e-3, 1e-9, "too small for a filter"),
    ],
)
def test_a_budget_that_cannot_be_kept_is_refused(epsilon, delta, said):
    with pytest.raises(PrivacyError, match=said):
        RdpFilter(epsilon, delta)
