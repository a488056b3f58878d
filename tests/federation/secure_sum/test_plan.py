import dataclasses

import pytest
from federated import NAMES, names, plan_for, roster_of

from federation.errors import ConfigError
from federation.secure_sum.plan import Grid, Plan

GRID = Grid.finest(5, 1.0, 100)
PLAN = Plan(study="5" * 64, roster="a" * 64, sites=5, grid=GRID, colluding=1, dropouts=1)


class TestPlan:
    @pytest.mark.parametrize(
        ("sites", "colluding", "dropouts", "threshold", "min_survivors"),
        [
            (3, 1, 0, 3, 3),
            (3, 0, 0, 2, 3),
            (4, 1, 1, 3, 3),
            (5, 1, 1, 4, 4),
            (5, 0, 2, 3, 3),
            (10, 3, 3, 7, 7),
        ],
    )
    def test_threshold_and_fewest_survivors(self, sites, colluding, dropouts, threshold, min_survivors):
        plan = Plan("5" * 64, "a" * 64, sites, Grid.finest(sites, 1.0, 1), colluding, dropouts)
        assert (plan.threshold, plan.min_survivors) == (threshold, min_survivors)

    def test_two_sets_never_have_enough_honest_signers_and_a_sum_never_one_honest_site(self):
        for sites in range(3, 60):
            for colluding in range(sites - 1):
                plan = Plan("5" * 64, "a" * 64, sites, Grid.finest(sites, 1.0, 1), colluding)
                assert 2 * (plan.threshold - colluding) > sites - colluding
                assert plan.threshold <= plan.min_survivors
                assert plan.threshold - colluding >= 2

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"sites": 2}, "sites=2: a sum is over 3 to 200"),
            ({"sites": 201}, "sites=201"),
            ({"colluding": 4}, "colluding=4 of 5 sites: at least two must be honest.*at most 3"),
            ({"colluding": -1}, "colluding=-1"),
            ({"dropouts": 2}, "dropouts=2: 4 of 5 sites have to remain where 1 may collude; at most 1"),
            ({"dropouts": -1}, "dropouts=-1"),
            ({"sites": 3, "colluding": 0, "dropouts": 1}, "dropouts=1: 3 of 3 sites"),
            ({"grid": Grid.finest(4, 1.0, 100)}, "levels=.* with 5 sites .*reaches .*use Grid.finest"),
            ({"grid": Grid(1.0, 2**29, 5)}, "weight_cap=536870912 with 5 sites"),
        ],
    )
    def test_what_could_not_be_kept_is_refused(self, change, says):
        with pytest.raises(ConfigError, match=says):
            dataclasses.replace(PLAN, **change)

    def test_whatever_differs_has_another_digest(self):
        changes = (
            {"study": "6" * 64},
            {"roster": "b" * 64},
            {"sites": 4, "colluding": 0},
            {"colluding": 0},
            {"dropouts": 0},
            {"grid": dataclasses.replace(GRID, clip_bound=2.0)},
            {"grid": dataclasses.replace(GRID, weight_cap=99)},
            {"grid": dataclasses.replace(GRID, levels=99)},
            {"grid": dataclasses.replace(GRID, levels=99, noise=0.1)},
            {"grid": dataclasses.replace(GRID, levels=99, weight_noise=0.1)},
        )
        digests = {PLAN.digest, *(dataclasses.replace(PLAN, **change).digest for change in changes)}
        assert len(digests) == len(changes) + 1
        assert dataclasses.replace(PLAN).digest == PLAN.digest

    def test_it_knows_its_roster(self):
        roster = roster_of(names(5))
        plan_for(roster).require_roster(roster)
        for other in (roster_of(NAMES[1:6]), roster_of(names(5), version=2), roster_of(names(4))):
            with pytest.raises(ConfigError, match="is not that of the plan"):
                plan_for(roster).require_roster(other)


class TestGrid:
    @pytest.mark.parametrize("sites", [3, 10, 50, 200])
    @pytest.mark.parametrize("noise", [0.0, 0.5, 30.0])
    def test_the_finest_fits_and_the_next_does_not(self, sites, noise):
        grid = Grid.finest(sites, 2.0, 100, noise)
        grid.require_room(sites)
        with pytest.raises(ConfigError):
            dataclasses.replace(grid, levels=grid.levels + 2).require_room(sites)

    def test_noise_takes_room(self):
        assert Grid.finest(10, 1.0, 1).levels == pytest.approx(2**31 / 10, rel=1e-6)
        assert Grid.finest(10, 1.0, 1, noise=10.0).levels == pytest.approx(2**31 / 75, rel=1e-6)

    def test_noise_on_the_weights_takes_room_too(self):
        with pytest.raises(ConfigError, match=r"weight_noise=1e\+09"):
            Grid(1.0, 1, 1, weight_noise=1e9).require_room(3)

    @pytest.mark.parametrize(
        "change",
        [
            {"clip_bound": 0.0},
            {"clip_bound": float("nan")},
            {"levels": 0},
            {"weight_cap": 0},
            {"noise": -1.0},
            {"noise": float("inf")},
        ],
    )
    def test_numbers_out_of_range_are_named(self, change):
        with pytest.raises(ConfigError, match=f"{next(iter(change))}="):
            dataclasses.replace(GRID, **change)

    def test_noise_that_leaves_no_level_is_refused(self):
        with pytest.raises(ConfigError, match=r"noise=1e\+10"):
            Grid.finest(3, 1.0, 1, noise=1e10).require_room(3)
