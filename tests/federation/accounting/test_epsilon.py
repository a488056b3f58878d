import math

import pytest
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent
from dp_accounting.pld import PLDAccountant

from federation.accounting import epsilon_spent, noise_multiplier_for
from federation.config import compose_run
from federation.errors import PrivacyError
from federation.promise import epsilon_after, noise_multiplier


def oracle(noise, rate, steps, delta):
    """ε by privacy loss distributions, add-or-remove-one, which is right to its grid and never too low."""
    event = GaussianDpEvent(noise)
    event = PoissonSampledDpEvent(rate, event) if rate < 1 else event
    accountant = PLDAccountant(value_discretization_interval=1e-3)
    accountant.compose(SelfComposedDpEvent(event, steps))
    return accountant.get_epsilon(delta)


class TestAgainstPrivacyLossDistributions:
    @pytest.mark.parametrize(
        ("noise", "rate", "steps", "delta"),
        [
            (1.0, 0.02, 1000, 1e-5),
            (0.8, 0.1, 50, 1e-5),
            (2.0, 0.5, 100, 1e-6),
            (5.0, 0.9, 200, 1e-5),
            (0.6, 0.01, 10, 1e-5),
            (1.5, 0.05, 1, 1e-4),
        ],
    )
    def test_sampled_steps_cost_the_same(self, noise, rate, steps, delta):
        found, expected = epsilon_spent(noise, rate, steps, delta), oracle(noise, rate, steps, delta)
        assert found == pytest.approx(expected, abs=0.02)
        assert found >= expected - 0.01, "never less, beyond the accountant's own error"

    @pytest.mark.parametrize(
        ("noise", "steps", "delta"),
        [(1.0, 1, 1e-5), (17.0, 150, 1e-5), (45.7, 150, 1e-5), (3.0, 20, 1e-6), (100.0, 3, 1e-5)],
    )
    def test_whole_cohorts_cost_what_one_gaussian_does(self, noise, steps, delta):
        found, expected = epsilon_spent(noise, 1.0, steps, delta), oracle(noise, 1.0, steps, delta)
        assert found == pytest.approx(expected, abs=0.02)
        assert found <= expected + 1e-9, "exact, so never above a pessimistic estimate"

    @pytest.mark.parametrize("noise", [0.5, 1.0, 4.0, 50.0])
    def test_the_gaussian_s_epsilon_has_exactly_delta(self, noise):
        epsilon = epsilon_spent(noise, 1.0, 1, 1e-5)
        upper = 0.5 * math.erfc(-(1 / (2 * noise) - epsilon * noise) / math.sqrt(2))
        lower = 0.5 * math.erfc(-(-1 / (2 * noise) - epsilon * noise) / math.sqrt(2))
        assert upper - math.exp(epsilon) * lower == pytest.approx(1e-5, rel=1e-4)


def test_more_steps_cost_more_and_more_noise_costs_less():
    assert epsilon_spent(2.0, 0.1, 20, 1e-5) < epsilon_spent(2.0, 0.1, 40, 1e-5)
    assert epsilon_spent(3.0, 1.0, 20, 1e-5) < epsilon_spent(2.0, 1.0, 20, 1e-5)
    assert epsilon_spent(2.0, 0.1, 20, 1e-5) < epsilon_spent(2.0, 1.0, 20, 1e-5)
    assert epsilon_spent(2.0, 1.0, 20, 1e-5) < epsilon_spent(2.0, 1.0, 20, 1e-6)


def test_noise_without_end_costs_nothing():
    assert epsilon_spent(1e9, 1.0, 1, 1e-5) == 0.0


@pytest.mark.parametrize(
    ("epsilon", "rate", "steps"),
    [
        (1.0, 1.0, 150),
        (3.0, 1.0, 100),
        (8.0, 1.0, 1),
        (0.1, 1.0, 10),
        (2.0, 0.1, 100),
        (8.0, 0.02, 500),
        (8.0, 1.0, 10**6),
    ],
)
def test_the_noise_for_a_promise_keeps_it_and_wastes_nothing(epsilon, rate, steps):
    noise = noise_multiplier_for(epsilon, rate, steps, 1e-5)
    assert epsilon_spent(noise, rate, steps, 1e-5) <= epsilon
    assert epsilon_spent(noise / 1.002, rate, steps, 1e-5) > epsilon


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((0.0, 0.5, 1, 1e-5), "noise_multiplier=0.0"),
        ((-1.0, 0.5, 1, 1e-5), "noise_multiplier=-1.0"),
        ((math.nan, 0.5, 1, 1e-5), "noise_multiplier=nan"),
        ((math.inf, 0.5, 1, 1e-5), "noise_multiplier=inf"),
        ((1.0, 0.0, 1, 1e-5), "sampling_rate=0.0"),
        ((1.0, 1.5, 1, 1e-5), "sampling_rate=1.5"),
        ((1.0, math.nan, 1, 1e-5), "sampling_rate=nan"),
        ((1.0, 0.5, 0, 1e-5), "steps=0"),
        ((1.0, 0.5, 1, 0.0), "delta=0.0"),
        ((1.0, 0.5, 1, 1.0), "delta=1.0"),
        ((1.0, 0.5, 1, math.nan), "delta=nan"),
        ((1e-4, 1.0, 1000, 1e-5), "too small for a finite"),
        ((0.19, 0.5, 10, 1e-5), "below 0.2, where the bound is not reliable"),
    ],
)
def test_a_cost_that_cannot_be_given_is_refused(arguments, said):
    with pytest.raises(PrivacyError, match=said):
        epsilon_spent(*arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((0.0, 1.0, 1, 1e-5), "epsilon=0.0"),
        ((math.nan, 1.0, 1, 1e-5), "epsilon=nan"),
        ((math.inf, 1.0, 1, 1e-5), "epsilon=inf"),
        ((1.0, 2.0, 1, 1e-5), "sampling_rate=2.0"),
        ((1.0, 1.0, 0, 1e-5), "steps=0"),
        ((1.0, 1.0, 1, 2.0), "delta=2.0"),
        ((1e-9, 1.0, 10**6, 1e-9), "noise above"),
        ((1000.0, 1.0, 1, 1e-5), "noise below"),
    ],
)
def test_a_promise_that_cannot_be_kept_is_refused(arguments, said):
    with pytest.raises(PrivacyError, match=said):
        noise_multiplier_for(*arguments)


class TestPromise:
    def test_a_study_run_to_its_end_costs_at_most_what_it_promised(self):
        study = compose_run(["privacy.epsilon=2"]).study
        assert epsilon_after(study, 0) == 0.0
        assert epsilon_after(study, study.training.steps) < epsilon_after(study, study.total_steps) <= 2.0

    def test_without_privacy_there_is_no_noise_and_no_bound(self):
        study = compose_run(["privacy=none"]).study
        assert noise_multiplier(study) is None
        assert epsilon_after(study, 10) is None
