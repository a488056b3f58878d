"""Both sides compute a study's plan and grids, so they have to come out equal, and have room."""

import dataclasses
import math

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federation import sums
from federation.config import compose_run
from federation.errors import ConfigError, PrivacyError
from federation.noise_share import LEAST_SHARE
from federation.promise import evaluation_noise, noise_multiplier
from federation.secure_sum.roster import Roster
from federation.sums import evaluation_grid, plan_of, share_deviation, training_grid

TEN = ("federation=simulation_10", "study=chest_xray")
SPILLS = "a sum of noise and worst cases that runs over, so that it says something else"
LITTLE = "a grid so coarse that a share of noise is lost in rounding"


def study_of(*overrides):
    return compose_run([*TEN, *overrides]).study


def roster_of(*sites):
    keys = {site: Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex() for site in sites}
    return Roster.signed(Ed25519PrivateKey.generate(), 1, keys)


def reach_of(study, noise, sensitivity, numbers, grid):
    """The worst case of a sum: every site at its bound, and 6.5 deviations of all their noise."""
    sites = len(study.participants)
    deviation = share_deviation(study, noise, sensitivity, numbers, grid) * math.sqrt(sites)
    return sites * (grid.levels + 1) + 6.5 * deviation


class TestPlan:
    def test_it_names_the_study_its_sites_and_how_many_may_fail(self):
        study = study_of("privacy=distributed", "secure_sum.colluding=3", "secure_sum.dropouts=2")
        members = roster_of(*study.participants).only(study.participants)
        plan = plan_of(study, members, 1026)
        assert (plan.study, plan.roster) == (study.id, members.hash)
        assert (plan.sites, plan.colluding, plan.dropouts) == (10, 3, 2)
        assert plan.parties == study.parties

    def test_who_else_is_in_the_federation_changes_nothing(self):
        study = study_of("aggregation=secure")
        roster = roster_of(*study.participants, "zelkova")
        keys = {site: roster.keys[site] for site in study.participants}
        smaller = Roster.signed(Ed25519PrivateKey.generate(), 2, keys)
        plans = [plan_of(study, each.only(study.participants), 7).digest for each in (roster, smaller)]
        assert plans[0] == plans[1]

    @pytest.mark.parametrize("bits", [-1, 1])
    def test_the_last_bits_of_a_noise_multiplier_are_not_in_it(self, bits, monkeypatch):
        study = study_of("privacy=distributed")
        members = roster_of(*study.participants).only(study.participants)
        plan, noise = plan_of(study, members, 1026), noise_multiplier(study)
        monkeypatch.setattr(sums, "noise_multiplier", lambda _: noise * (1 + bits * 1e-9))
        assert plan_of(study, members, 1026).digest == plan.digest

    def test_a_study_without_sums_has_none(self):
        with pytest.raises(ConfigError, match="has no secure sums"):
            training_grid(study_of("aggregation=plain"), 7)


class TestRoom:
    @pytest.mark.attack(SPILLS, held_by="the grid leaves room for the worst case")
    @pytest.mark.parametrize("numbers", [1, 1026, 30_000_000])
    @pytest.mark.parametrize("epsilon", [0.1, 1, 8, 100])
    def test_the_worst_case_of_a_round_fits(self, epsilon, numbers):
        study = study_of("privacy=distributed", f"privacy.epsilon={epsilon}", "evaluation=null")
        grid = training_grid(study, numbers)
        assert reach_of(study, noise_multiplier(study), study.privacy.clipping_norm, numbers, grid) < 2**31

    @pytest.mark.mutant(SPILLS, how="the grid is as fine as data alone allow")
    def test_a_grid_for_the_data_alone_runs_over(self):
        study = study_of("privacy=distributed", "privacy.epsilon=0.1", "evaluation=null")
        grid = dataclasses.replace(training_grid(study, 1026), levels=(2**31 - 1) // 10 - 1)
        assert reach_of(study, noise_multiplier(study), 1.0, 1026, grid) >= 2**31

    def test_the_worst_case_of_a_histogram_fits(self):
        for epsilon in (0.3, 3, 30):
            study = study_of("privacy=distributed", f"evaluation.epsilon={epsilon}")
            grid = evaluation_grid(study)
            assert reach_of(study, evaluation_noise(study), 1.0, 20, grid) < 2**31


class TestShare:
    def test_as_many_shares_as_are_certain_make_up_the_noise_and_what_rounding_adds(self):
        study = study_of("privacy=distributed", "secure_sum.colluding=3", "secure_sum.dropouts=2")
        grid, norm = training_grid(study, 1026), study.privacy.clipping_norm
        share = share_deviation(study, noise_multiplier(study), norm, 1026, grid) * grid.unit
        together = share * math.sqrt(10 - 3 - 2)
        expected = noise_multiplier(study) * (norm + math.sqrt(1026) * grid.unit)
        assert together == pytest.approx(expected)

    def test_rounding_adds_little(self):
        grid = training_grid(study_of("privacy=distributed"), 1026)
        assert math.sqrt(1026) * grid.unit < 1e-3

    @pytest.mark.attack(LITTLE, held_by="the least share")
    def test_a_share_that_rounding_could_swallow_is_refused(self):
        with pytest.raises(PrivacyError, match=r"share of noise is \d+ levels.*lower secure_sum.clip_bound"):
            training_grid(study_of("privacy=distributed", "secure_sum.clip_bound=1e6"), 30_000_000)

    @pytest.mark.mutant(LITTLE, how="any share will do")
    def test_without_that_rule_such_a_grid_would_be_used(self, monkeypatch):
        study = study_of("privacy=distributed", "secure_sum.clip_bound=1e6")
        monkeypatch.setattr(sums, "_require_share", lambda *_: None)
        grid = training_grid(study, 30_000_000)
        assert math.sqrt(30_000_000) * grid.unit > study.privacy.clipping_norm

    def test_every_share_is_far_above_the_least(self):
        study = study_of("privacy=distributed", "privacy.epsilon=8")
        grid = training_grid(study, 1026)
        assert share_deviation(study, noise_multiplier(study), 1.0, 1026, grid) > 1000 * LEAST_SHARE
