"""A task of generated squares: small enough to train in milliseconds, real enough to learn."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from federation.errors import DataError
from federation.tasks import Cohort, Examples, Option

SIZE = 12


class Squares:
    """Class 1 has a bright square in the middle; a patient has one to three images."""

    def __init__(self, patients: int, held_out: int, one_class: bool, fails_with: str) -> None:
        self._patients = patients
        self._held_out = held_out
        self._one_class = one_class
        self._fails_with = fails_with

    def cohort(self, part: int, parts: int) -> Cohort:
        if self._fails_with:
            raise RuntimeError(self._fails_with)
        return Cohort(
            description=f"part {part} of {parts}",
            train=self._examples(self._patients, seed=part, name=f"{part}"),
            test=self._examples(self._held_out, seed=1000 + part, name=f"{part}-test"),
        )

    def public_examples(self, count: int, seed: int) -> Examples:
        return self._examples(count, seed=2000 + seed)

    def read_image(self, path: Path) -> NDArray[np.float32]:
        raise DataError(f"squares are not read from files such as {path.name}")

    def _examples(self, patients: int, seed: int, name: str = "") -> Examples:
        """Without a name they are nobody's."""
        random = np.random.default_rng(seed)
        of_patient = np.repeat(np.arange(patients), random.integers(1, 4, size=patients))
        targets = np.zeros_like(of_patient) if self._one_class else of_patient % 2
        images = random.normal(size=(len(targets), 1, SIZE, SIZE)).astype(np.float32)
        images[:, :, 4:8, 4:8] += 2 * targets[:, None, None, None].astype(np.float32)
        mixed = random.permutation(len(targets))
        identities = tuple(f"{name}-{number}" for number in range(patients)) if name else ()
        return Examples(images[mixed], targets[mixed], of_patient[mixed], {}, identities)


def create(options: Mapping[str, Option], folder: Path) -> Squares:
    return Squares(
        patients=int(options.get("patients", 24)),
        held_out=int(options.get("held_out", 6)),
        one_class=bool(options.get("one_class", False)),
        fails_with=str(options.get("fails_with", "")),
    )
