"""Deal the patients of one collection out to simulated hospitals that differ as real ones do."""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from federation.errors import DataError

Hospitals = NDArray[np.int64]


class Partition(StrEnum):
    """How the hospitals differ."""

    EVEN = "even"
    """Equal shares, at random."""
    QUANTITY = "quantity"
    """Shares of very different size (a Dirichlet draw); the same kind of patients."""
    DIRICHLET = "dirichlet"
    """Different shares of each class (Hsu et al. 2019): a hospital may see mostly one of them."""


def deal(labels: NDArray[np.int64], parts: int, partition: Partition, alpha: float, seed: int) -> Hospitals:
    """The hospital (0, 1, ...) of each patient, int64 ``[patients]``; every hospital has at least one.

    Args:
        labels: the class of each patient.
        parts: how many hospitals.
        partition: how they differ.
        alpha: how much, for ``quantity`` and ``dirichlet``: .1 is extreme, 100 is even.
        seed: of the deal.

    Raises:
        DataError: there are fewer patients than hospitals.
    """
    if parts > len(labels):
        raise DataError(
            f"{parts} hospitals were asked for, but there are {len(labels)} patients; "
            "choose a smaller federation"
        )
    draw = np.random.default_rng(seed)
    match partition:
        case Partition.EVEN:
            groups, shares = [np.arange(len(labels))], [np.full(parts, 1 / parts)]
        case Partition.QUANTITY:
            groups, shares = [np.arange(len(labels))], [draw.dirichlet(np.full(parts, alpha))]
        case Partition.DIRICHLET:
            groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
            shares = [draw.dirichlet(np.full(parts, alpha)) for _ in groups]
    hospitals = np.empty(len(labels), dtype=np.int64)
    for group, share in zip(groups, shares, strict=True):
        borders = np.round(np.cumsum(share)[:-1] * len(group)).astype(np.int64)
        for hospital, chosen in enumerate(np.split(draw.permutation(group), borders)):
            hospitals[chosen] = hospital
    return _nobody_empty(hospitals, parts)


def listed(names: Sequence[str], parts: int) -> Hospitals:
    """The hospitals of patients whose hospital is known by name, in the names' order.

    Raises:
        DataError: there are fewer names than hospitals.
    """
    known = sorted(set(names))
    if parts > len(known):
        raise DataError(f"{parts} hospitals were asked for, but the list names {len(known)}: {known}")
    return np.array([known.index(name) for name in names], dtype=np.int64)


def _nobody_empty(hospitals: Hospitals, parts: int) -> Hospitals:
    """Give each empty hospital a patient of the largest, so that an extreme deal is still a deal."""
    for hospital in range(parts):
        if not (hospitals == hospital).any():
            largest = np.bincount(hospitals, minlength=parts).argmax()
            hospitals[np.flatnonzero(hospitals == largest)[0]] = hospital
    return hospitals
