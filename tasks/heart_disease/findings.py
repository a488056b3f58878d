"""The 13 findings of a patient as numbers that every hospital computes alike.

Centre and scale of each measurement are public: normal values for adults, not statistics of these patients. A
missing value becomes the centre and raises a flag of its own, since what a hospital does not measure says
something too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Measurement:
    """A finding on a scale: (value - centre) / scale; impossible values count as missing."""

    name: str
    centre: float
    scale: float
    least: float

    @property
    def width(self) -> int:
        """The value, and whether it is missing."""
        return 2

    def encode(self, value: float) -> list[float]:
        """Two numbers."""
        if np.isnan(value) or value < self.least:
            return [0.0, 1.0]
        return [float(np.clip((value - self.centre) / self.scale, -4, 4)), 0.0]


@dataclass(frozen=True)
class Category:
    """A finding of a few kinds: one number for each, all zero where it is missing."""

    name: str
    kinds: tuple[int, ...]

    @property
    def width(self) -> int:
        """One number a kind."""
        return len(self.kinds)

    def encode(self, value: float) -> list[float]:
        """One hot."""
        return [float(value == kind) for kind in self.kinds]


# In the columns' order; units as in the UCI documentation (years, mm Hg, mg/dl, beats a minute, mm).
FINDINGS: tuple[Measurement | Category, ...] = (
    Measurement("age", 55, 10, 1),
    Category("sex, 1 male", (0, 1)),
    Category("chest pain type", (1, 2, 3, 4)),
    Measurement("resting blood pressure", 125, 20, 40),
    Measurement("cholesterol", 220, 50, 40),
    Category("fasting blood sugar above 120 mg/dl", (0, 1)),
    Category("resting electrocardiogram", (0, 1, 2)),
    Measurement("highest heart rate", 150, 25, 40),
    Category("angina under exercise", (0, 1)),
    Measurement("ST depression under exercise", 0, 1, -5),
    Category("slope of the ST segment", (1, 2, 3)),
    Measurement("vessels coloured by fluoroscopy", 0, 1, 0),
    Category("thallium scan", (3, 6, 7)),
)
WIDTH = sum(finding.width for finding in FINDINGS)


def encode(row: Sequence[float]) -> NDArray[np.float32]:
    """A patient's 13 findings as float32 ``[WIDTH]``."""
    parts = [finding.encode(value) for finding, value in zip(FINDINGS, row, strict=True)]
    return np.concatenate(parts).astype(np.float32)
