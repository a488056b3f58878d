"""How numbers are written."""

import pytest

from federation.page.numbers import apart, cost, duration, percent, runs, score, small, span


@pytest.mark.parametrize(
    ("epsilon", "text"),
    [
        (8.0, "8"),
        (7.981, "7.99"),
        (0.5, "0.5"),
        (1e-9, "0.01"),
        (0.0, "0"),
        (2.6 * 3, "7.8"),
        (None, "–"),
        (float("inf"), "∞"),
        (1234.5, "1234.5"),
    ],
)
def test_a_cost_is_never_rounded_down(epsilon, text):
    assert cost(epsilon) == text


def test_a_missing_score_is_a_dash():
    assert (score(None), score(float("nan")), score(0.936)) == ("–", "–", "0.94")


def test_scores_that_round_alike_get_another_digit():
    assert apart(0.944, 0.936) == ("0.944", "0.936")
    assert apart(0.95, 0.90) == ("0.95", "0.90")


def test_a_span_of_one_is_one_number():
    assert span([0.901, 0.899]) == "0.90"


def test_near_certainty_never_becomes_certainty():
    assert percent(0.9999999) == "more than 99.99\u00a0%"


def test_a_small_chance_in_two_ways():
    assert small(1e-5) == "0.00001 (1 in 100,000)"
    assert small(2.5e-6) == "0.0000025 (1 in 400,000)"


def test_times_in_the_unit_that_people_use():
    assert [duration(s) for s in (48.2, 200, 7500)] == ["48 s", "3 min 20 s", "2 h 5 min"]


def test_neighbouring_rounds_are_drawn_together():
    assert runs([4, 7, 8, 9, 12]) == "4, 7–9, 12"
