"""Whom a promise holds against, in numbers and in words."""

from dataclasses import replace

import pytest

from federation.against import evaluation_guarantees, guarantees, headline, in_words, league, travel
from federation.config import compose_run
from federation.promise import largest_local_epsilon

DISTRIBUTED = ("privacy=distributed", "rounds=2", "training.steps=1")


def study(*overrides):
    return compose_run(overrides).study


@pytest.fixture(scope="module")
def shared():
    return study(*DISTRIBUTED)


def test_without_privacy_nothing_is_promised_to_anybody():
    open_to_all = study("privacy=none")
    assert guarantees(open_to_all) == evaluation_guarantees(open_to_all) == ()
    assert headline(open_to_all) == ""


def test_noise_of_one_s_own_holds_against_everybody_and_says_so():
    (only,) = guarantees(study("privacy=local", "rounds=2"))
    assert only.against == "everybody"
    assert only.epsilon == pytest.approx(8, rel=1e-2)
    assert in_words([only]) == "ε = 8 against everybody together"
    assert "even if the coordinator and all other hospitals work together" in only.assumption


class TestDistributed:
    def test_there_are_three_numbers_and_the_headline_is_the_study_s_own(self, shared):
        first, second, third = guarantees(shared)
        assert [each.against for each in (first, second, third)] == ["coordinator", "peer", "everybody"]
        assert first.title == headline(shared) == "the coordinator with 1 of 4 hospitals"
        assert first.epsilon == pytest.approx(shared.privacy.epsilon, rel=1e-2)
        assert first.epsilon < third.epsilon, "everybody together sees through all shares but one"

    def test_in_words_all_three_stand_in_a_row(self, shared):
        first, second, third = guarantees(shared)
        assert in_words([first, second, replace(third, epsilon=None)]) == (
            "ε = 3 against the coordinator with 1 of 4 hospitals, ε = 3 against a single other hospital, "
            "no bound against everybody together"
        )

    def test_each_names_what_it_rests_on(self, shared):
        first, second, third = (each.assumption for each in guarantees(shared))
        assert "no more than 1 of 4 hospitals is in league with the coordinator" in first
        assert "at least 2 honest hospitals" in first
        assert "in league with nobody" in second
        assert "even if the coordinator and all other hospitals work together" in third

    def test_where_a_share_is_too_small_it_says_so_and_not_that_anything_holds(self):
        many = [f"site{number}" for number in range(60)]
        sampled = study(*DISTRIBUTED, "privacy.epsilon=50", "privacy.sampling_rate=0.5")
        weak = sampled.model_copy(update={"participants": tuple(many)})
        first, _, third = guarantees(weak)
        assert first.epsilon == pytest.approx(50, rel=1e-2)
        assert third.epsilon is None
        assert third.assumption == (
            "Nothing bounds what they can learn: too little of the noise stands before them."
        )
        assert in_words([third]) == "no bound against everybody together"

    def test_the_held_out_have_three_numbers_too(self, shared):
        told = evaluation_guarantees(shared)
        assert [each.title for each in told] == [each.title for each in guarantees(shared)]
        assert told[0].epsilon == pytest.approx(shared.evaluation.epsilon, rel=1e-2)
        everybody = max(guarantees(shared)[-1].epsilon, told[-1].epsilon)
        assert everybody == largest_local_epsilon(shared)


class TestTravel:
    def test_in_sums_it_says_over_how_many_of_how_many_and_who_may_be_in_league(self):
        summed = study("aggregation=secure")
        assert travel(summed) == "in secure sums over at least 3 of 4 hospitals"
        assert league(summed) == "up to 1 of them in league with the coordinator"
        assert league(study("aggregation=secure", "secure_sum.colluding=0")).startswith("none of them")

    def test_by_itself_it_says_that_the_coordinator_sees_it(self):
        alone = study("aggregation=plain")
        assert travel(alone) == "each by itself, so that the coordinator sees it"
        assert not league(alone)
