"""The bet that explains epsilon, against what can be computed by hand."""

import math

import pytest

from server_app.report.odds import best_guess, gaussian_guess


@pytest.mark.parametrize(("epsilon", "share"), [(0, 0.5), (1, 0.7311), (3, 0.9526), (8, 0.99966)])
def test_the_best_guess_without_slack_is_the_logistic_curve(epsilon, share):
    assert best_guess(epsilon, 0.0) == pytest.approx(share, abs=5e-5)


def test_slack_adds_what_an_open_secret_would():
    # At epsilon 0 and slack delta, one patient in 1/delta is simply shown; otherwise the guess is a coin.
    assert best_guess(0, 0.1) == pytest.approx(0.55)


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 8.0, 40.0])
def test_one_gaussian_release_never_exceeds_the_ceiling(epsilon):
    assert 0.5 < gaussian_guess(epsilon, 1e-5) < best_guess(epsilon, 1e-5)


def test_a_gaussian_of_known_distance_is_found_again():
    # At distance 1, delta at epsilon 1 is Phi(-1/2) - e Phi(-3/2); the best guess is right in Phi(1/2).
    def phi(x: float) -> float:
        return math.erfc(-x / math.sqrt(2)) / 2

    assert gaussian_guess(1.0, phi(-0.5) - math.e * phi(-1.5)) == pytest.approx(phi(0.5), abs=1e-9)


@pytest.mark.parametrize("epsilon", [300.0, 5000.0])
def test_huge_costs_do_not_overflow(epsilon):
    assert best_guess(epsilon, 1e-5) == pytest.approx(1.0)
    assert gaussian_guess(epsilon, 1e-5) == pytest.approx(1.0)
