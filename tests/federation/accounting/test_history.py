import math
from dataclasses import astuple

import pytest

from benchmarks.accounting import SETTINGS, pld_epsilon
from federation.accounting import Spend, epsilon_of, epsilon_spent
from federation.accounting.spend import merged
from federation.errors import PrivacyError


def mechanisms(settings):
    return "+".join("x".join(f"{value:g}" for value in astuple(spend)) for spend in settings[0])


@pytest.mark.parametrize(("history", "delta"), SETTINGS, ids=map(mechanisms, SETTINGS))
def test_every_setting_costs_what_privacy_loss_distributions_say(history, delta):
    found, expected = epsilon_of(history, delta), pld_epsilon(history, delta)
    assert abs(found - expected) <= 0.02
    # Whole cohorts are exact, and theirs is pessimistic by its grid.
    assert found >= expected - (1e-4 if all(spend.sampling_rate == 1 for spend in history) else 0)


@pytest.mark.parametrize("history", [[Spend(20.0, 1.0, 100)], [Spend(1.0, 0.02, 1000)]])
def test_an_accountant_that_takes_the_noise_for_two_percent_more_would_be_seen(history):
    weakened = [Spend(1.02 * spend.noise_multiplier, spend.sampling_rate, spend.steps) for spend in history]
    assert epsilon_of(weakened, 1e-5) < pld_epsilon(tuple(history), 1e-5) - 1e-4


def test_nothing_costs_nothing():
    assert epsilon_of([], 1e-5) == 0.0


def test_one_spend_costs_what_its_steps_do():
    assert epsilon_of([Spend(2.0, 0.1, 50)], 1e-5) == epsilon_spent(2.0, 0.1, 50, 1e-5)
    assert epsilon_of([Spend(9.0, 1.0, 50)], 1e-5) == epsilon_spent(9.0, 1.0, 50, 1e-5)


def test_order_and_division_of_a_history_do_not_matter():
    history = [Spend(2.0, 0.1, 30), Spend(30.0, 1.0, 5), Spend(1.0, 0.02, 100), Spend(2.0, 0.1, 20)]
    divided = [Spend(1.0, 0.02, 60), Spend(2.0, 0.1, 50), Spend(1.0, 0.02, 40)] + [Spend(30.0, 1.0, 1)] * 5
    assert epsilon_of(history, 1e-5) == epsilon_of(history[::-1], 1e-5)
    assert epsilon_of(history, 1e-5) == pytest.approx(epsilon_of(divided, 1e-5), abs=1e-6)


def test_a_lifetime_of_many_equal_studies_is_one_entry():
    studies = [Spend(2.0, 0.1, 10), Spend(40.0, 1.0, 3), Spend(60.0, 1.0, 3)] * 500
    first, second = merged(studies)
    assert (first.sampling_rate, first.steps) == (1.0, 1)
    assert first.noise_multiplier == pytest.approx((500 * (3 / 40**2 + 3 / 60**2)) ** -0.5)
    assert second == Spend(2.0, 0.1, 5000)


def test_each_spend_costs_something():
    history = [Spend(2.0, 0.1, 100), Spend(20.0, 1.0, 10), Spend(1.0, 0.02, 100)]
    costs = [epsilon_of(history[:count], 1e-5) for count in range(4)]
    assert costs == sorted(set(costs))


@pytest.mark.parametrize(
    ("history", "delta", "said"),
    [
        ([Spend(2.0, 0.1, 10)], 1.0, "delta=1.0"),
        ([], math.nan, "delta=nan"),
        ([Spend(2.0, 0.1, 10), Spend(0.1, 0.5, 1)], 1e-5, "noise_multiplier=0.1 is below 0.2"),
        ([Spend(2.0, 0.1, 10), Spend(1.0, 1.0, 100)], 1e-5, "noise_multiplier=0.1 is below 0.2"),
        ([Spend(1e-4, 1.0, 10), Spend(1e-4, 1.0, 9)], 1e-5, "too small for a finite"),
        (
            [Spend(0.3, 0.9, 1000)],
            1e-5,
            "no bound below 200 for noise_multiplier=0.3, sampling_rate=0.9, steps=1000",
        ),
        ([Spend(5.0, 0.1, 1000)], 1e-18, "no bound for .* at delta=1e-18"),
    ],
)
def test_a_history_that_the_accountant_cannot_bound_is_refused(history, delta, said):
    with pytest.raises(PrivacyError, match=said):
        epsilon_of(history, delta)
