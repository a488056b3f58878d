import math

import numpy as np
import pytest
from scipy.stats import binom, norm

from client_app.audit.one_run import _refuted, epsilon_at_least
from federation.accounting import epsilon_spent, noise_multiplier_for
from federation.errors import PrivacyError

CANARIES, GUESSES, DELTA = 5000, 700, 1e-5


def right_guesses(sigma, random):
    """The clearest guesses at canaries with Gaussian noise of deviation ``sigma``."""
    coins = random.random(CANARIES) < 0.5
    lean = coins - 0.5 + sigma * random.normal(size=CANARIES)
    named = np.argsort(-np.abs(lean))[:GUESSES]
    return int(((lean[named] > 0) == coins[named]).sum())


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 3.0, 8.0])
def test_what_is_proved_of_a_gaussian_is_true_of_it(epsilon):
    sigma, random = noise_multiplier_for(epsilon, 1.0, 1, DELTA), np.random.default_rng(1)
    proved = [
        epsilon_at_least(CANARIES, GUESSES, right_guesses(sigma, random), DELTA, 0.95) for _ in range(20)
    ]
    assert max(proved) < epsilon
    assert np.mean(proved) > epsilon / 4, "and not nothing"


def test_half_the_noise_of_epsilon_three_is_told_from_it_each_time():
    sigma, random = noise_multiplier_for(3.0, 1.0, 1, DELTA), np.random.default_rng(2)
    proved = [
        epsilon_at_least(CANARIES, GUESSES, right_guesses(sigma / 2, random), DELTA, 0.95) for _ in range(50)
    ]
    assert min(proved) > 3.0
    assert max(proved) < epsilon_spent(sigma / 2, 1.0, 1, DELTA), "nor is too much proved"


@pytest.mark.parametrize("distance", [0.1, 0.7, 2.0])
def test_a_count_is_refuted_only_where_the_best_possible_game_seldom_reaches_it(distance):
    """Independent Gaussian canaries are a game that the curve allows, so its own counts must stand."""
    share, guesses = norm.cdf(distance / 2), 1000
    for doubt in (0.5, 0.05, 1e-3):
        usual = int(binom.isf(doubt, guesses, share))
        assert not _refuted(distance, guesses, guesses, usual, doubt)


def test_one_guess_is_refuted_exactly_where_the_curve_says():
    """With one canary and one guess the theorem is the definition: p <= 1 - f(1 - p)."""
    most = norm.cdf(0.5)  # p = Φ(Φ^-1(1 - p) + 1)
    assert _refuted(1.0, 1, 1, 1, most + 1e-6) == (norm.cdf(norm.ppf(most + 1e-6) - 1) > 1 - most - 1e-6)
    assert not _refuted(1.0, 1, 1, 1, most - 1e-6)


def test_more_right_guesses_prove_more_and_a_coin_nothing():
    proved = [epsilon_at_least(CANARIES, GUESSES, right, DELTA, 0.95) for right in range(350, 701, 25)]
    assert proved == sorted(proved)
    assert proved[0] == 0.0
    assert math.isfinite(proved[-1])


@pytest.mark.parametrize(("canaries", "guesses", "right"), [(10, 11, 5), (10, 5, 6), (10, 0, 0), (10, 5, -1)])
def test_counts_that_do_not_belong_together_are_refused(canaries, guesses, right):
    with pytest.raises(PrivacyError, match="no such game"):
        epsilon_at_least(canaries, guesses, right, DELTA, 0.95)
