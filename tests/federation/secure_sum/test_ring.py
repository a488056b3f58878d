import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import SecureSumError
from federation.secure_sum.plan import Grid
from federation.secure_sum.ring import decode, encode

GRID = Grid(clip_bound=2.0, weight_cap=10, levels=100)


def of(*numbers):
    return np.array(numbers, dtype=np.float32)


def signed(words):
    return words.view(np.int32).tolist()


class TestEncode:
    def test_a_weight_then_the_weighted_levels(self):
        assert signed(encode(of(0, 1, -1, 2), 10, GRID)) == [10, 0, 50, -50, 100]
        assert signed(encode(of(0, 1, -1, 2), 4, GRID)) == [4, 0, 20, -20, 40]

    def test_what_is_beyond_the_bound_is_clipped(self):
        assert signed(encode(of(3, -1e30, 2.001), 10, GRID)) == [10, 100, -100, 100]

    def test_the_nearest_level(self):
        assert signed(encode(of(0.0199, 0.0101, -0.0099), 10, GRID))[1:] == [1, 1, 0]

    def test_noise_is_added_to_the_integers_that_of_the_weight_in_slot_0(self):
        noise = np.array([-12, 3, -200], dtype=np.int64)
        assert signed(encode(of(0.0051, 2), 10, GRID, noise)) == [-2, 3, -100]

    def test_noise_may_go_around(self):
        assert signed(encode(of(0), 0, GRID, np.array([2**32 + 5, -(2**32) - 6]))) == [5, -6]

    def test_the_vector_it_was_given_is_left_alone(self):
        vector = of(5, 1)
        encode(vector, 10, GRID)
        assert vector.tolist() == [5, 1]

    def test_long_vectors_come_out_as_short_ones(self):
        vector = np.random.default_rng(1).uniform(-3, 3, 200_001).astype(np.float32)
        noise = np.random.default_rng(2).integers(-50, 50, 200_002)
        once = np.rint(np.clip(vector.astype(np.float64), -2, 2) * (100 / 2 * (7 / 10))).astype(np.int64)
        assert signed(encode(vector, 7, GRID, noise)) == (np.concatenate([[7], once]) + noise).tolist()

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_numbers_that_are_not_finite_are_refused_and_not_repeated(self, bad):
        with pytest.raises(SecureSumError, match="numbers that are not finite"):
            encode(of(0, bad), 1, GRID)

    @pytest.mark.parametrize("weight", [-1, 11])
    def test_a_weight_beyond_the_cap_is_refused(self, weight):
        with pytest.raises(SecureSumError, match=f"a weight of {weight} is outside 0 to 10"):
            encode(of(0), weight, GRID)

    @pytest.mark.parametrize(
        ("vector", "noise"), [(np.zeros((2, 2), np.float32), None), (of(0), np.zeros(1, np.int64))]
    )
    def test_shapes_that_do_not_fit_are_refused(self, vector, noise):
        with pytest.raises(SecureSumError, match=r"they are \[m\] and \[m \+ 1\]"):
            encode(vector, 1, GRID, noise)


class TestDecode:
    @settings(deadline=None)
    @given(
        st.lists(st.tuples(st.integers(1, 1000), st.floats(-1, 1, width=32)), min_size=3, max_size=50),
    )
    def test_the_weighted_mean_within_half_a_level_of_each_site(self, sites):
        grid = Grid.finest(len(sites), 1.0, 1000)
        total = np.zeros(2, dtype=np.uint32)
        for weight, number in sites:
            total += encode(of(number), weight, grid)
        mean, weight = decode(total, grid)
        assert weight == sum(q for q, _ in sites)
        exact = sum(q * x for q, x in sites) / weight
        rounding = 0.5 * len(sites) * grid.unit * grid.weight_cap / weight
        assert abs(mean[0] - exact) <= rounding + 2**-23

    def test_the_error_of_one_site_among_fifty_is_below_what_float32_holds(self):
        grid = Grid.finest(50, 1.0, 1)
        vector = np.random.default_rng(0).uniform(-1, 1, 10_000).astype(np.float32)
        assert np.abs(decode(encode(vector, 1, grid), grid)[0] - vector).max() < 6e-8

    def test_the_worst_sum_of_all_sites_does_not_overflow(self):
        for sites in (3, 50, 200):
            grid = Grid.finest(sites, 1.0, 2**31 // sites - 1)
            total = np.zeros(3, dtype=np.uint32)
            for _ in range(sites):
                total += encode(of(1, -1), grid.weight_cap, grid)
            assert decode(total, grid)[0].tolist() == [1, -1]

    def test_no_weight_no_mean(self):
        for total in ([0, 5], [-1, 5]):
            with pytest.raises(SecureSumError, match="has no mean"):
                decode(np.array(total, dtype=np.int32).view(np.uint32), GRID)
