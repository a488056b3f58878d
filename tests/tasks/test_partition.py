from itertools import pairwise

import numpy as np
import pytest

from federation.errors import DataError
from tasks.partition import Partition, deal, listed

LABELS = np.array([0] * 150 + [1] * 450)
ALL = pytest.mark.parametrize("partition", list(Partition))


def sizes(hospitals, parts):
    return np.bincount(hospitals, minlength=parts)


def label_skew(hospitals, parts):
    """How far the hospitals' shares of the second class lie apart, weighted by their patients."""
    shares = np.array([LABELS[hospitals == part].mean() for part in range(parts)])
    return np.average((shares - LABELS.mean()) ** 2, weights=sizes(hospitals, parts))


def size_skew(hospitals, parts):
    return float(np.std(sizes(hospitals, parts)))


def mean_over_seeds(skew, partition, alpha):
    return np.mean([skew(deal(LABELS, 5, partition, alpha, seed), 5) for seed in range(40)])


@ALL
@pytest.mark.parametrize("alpha", [1e-6, 0.1, 100.0])
@pytest.mark.parametrize("parts", [1, 4, 50])
def test_every_patient_is_dealt_once_and_nobody_is_empty(partition, alpha, parts):
    hospitals = deal(LABELS, parts, partition, alpha, seed=3)
    assert hospitals.shape == LABELS.shape
    assert sorted(np.unique(hospitals)) == list(range(parts))


@ALL
def test_as_many_hospitals_as_patients_get_one_each(partition):
    assert sorted(deal(LABELS[:8], 8, partition, 0.1, seed=0)) == list(range(8))


@ALL
def test_more_hospitals_than_patients_are_refused_with_both_numbers(partition):
    with pytest.raises(DataError, match=r"7 hospitals were asked for, but there are 6 patients"):
        deal(LABELS[:6], 7, partition, 1.0, seed=0)


@ALL
def test_a_seed_decides_the_deal(partition):
    first, again, other = (deal(LABELS, 4, partition, 0.5, seed) for seed in (1, 1, 2))
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


def test_an_even_deal_gives_equal_shares_of_the_same_kind():
    hospitals = deal(LABELS, 4, Partition.EVEN, 0.1, seed=0)
    assert sizes(hospitals, 4).tolist() == [150] * 4
    assert label_skew(hospitals, 4) < 0.004


def test_a_quantity_deal_differs_in_size_and_not_in_kind():
    assert mean_over_seeds(size_skew, Partition.QUANTITY, 0.5) > 50
    assert mean_over_seeds(label_skew, Partition.QUANTITY, 0.5) < 0.004


@pytest.mark.parametrize(
    ("partition", "skew"), [(Partition.QUANTITY, size_skew), (Partition.DIRICHLET, label_skew)]
)
def test_hospitals_differ_more_as_alpha_shrinks(partition, skew):
    skews = [mean_over_seeds(skew, partition, alpha) for alpha in (100.0, 1.0, 0.1)]
    assert all(smaller < larger for smaller, larger in pairwise(skews))


def test_a_list_keeps_everybody_where_they_are():
    assert listed(["north", "south", "north", "east"], 3).tolist() == [1, 2, 1, 0]


def test_a_smaller_federation_takes_the_first_hospitals_of_a_list():
    hospitals = listed(["north", "south", "east"], 2)
    assert [int((hospitals == part).sum()) for part in range(2)] == [1, 1]


def test_more_hospitals_than_a_list_names_are_refused_with_the_names():
    with pytest.raises(DataError, match=r"3 hospitals were asked for, but the list names 2: \['a', 'b'\]"):
        listed(["b", "a", "b"], 3)
