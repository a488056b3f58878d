"""A task of random images, so that a benchmark needs no data and measures nobody's reading of files.

Options: ``patients`` and ``test_patients`` of each hospital; a patient has one image of 28 x 28 pixels.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from federation.errors import DataError
from federation.tasks import Cohort, Examples, Option

SIDE = 28


def create(options: Mapping[str, Option], folder: Path) -> "Images":  # noqa: ARG001
    """The task; it has no folder."""
    return Images(int(options["patients"]), int(options["test_patients"]))


class Images:
    """Noise, a little brighter in the second class."""

    def __init__(self, patients: int, test_patients: int) -> None:
        self._patients = patients
        self._test_patients = test_patients

    def cohort(self, part: int, parts: int) -> Cohort:  # noqa: ARG002
        """As many hospitals as are asked for; each has its own draws."""
        draw = np.random.default_rng(part)
        train, test = _examples(self._patients, draw), _examples(self._test_patients, draw)
        return Cohort(
            f"noise {part}",
            train=replace(train, identities=tuple(f"{part}-{patient}" for patient in train.patients)),
            test=replace(test, identities=tuple(f"{part}-test-{patient}" for patient in test.patients)),
        )

    def public_examples(self, count: int, seed: int) -> Examples:
        """More of the same."""
        return _examples(count, np.random.default_rng([seed, 1]))

    def read_image(self, path: Path) -> NDArray[np.float32]:
        """There are no files."""
        raise DataError(f"{path}: the benchmarks' task reads no files")


def _examples(count: int, draw: np.random.Generator) -> Examples:
    numbers = np.arange(count)
    targets = numbers % 2
    images = draw.normal(0.1 * targets[:, None, None, None], 0.5, (count, 1, SIDE, SIDE))
    return Examples(images=images.astype(np.float32), targets=targets, patients=numbers, covariates={})
