"""A series of slices as one block of numbers, wherever it came from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from federation.errors import DataError
from federation.site_store import Directions, Fact


@dataclass(frozen=True)
class Volume:
    """Values in space.

    Attributes:
        values: int16 or float32 ``[slices, rows, columns]``, as measured: HU for CT.
        spacing: mm between slices, rows and columns.
        directions: unit vectors along slices, rows and columns, each as (left, posterior, superior).
        modality: as DICOM names it, e.g. ``"CT"``.
        facts: how it was acquired, without identifiers.
    """

    values: NDArray[np.int16] | NDArray[np.float32] = field(repr=False)
    spacing: tuple[float, float, float]
    directions: Directions
    modality: str
    facts: Mapping[str, Fact] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Refuse what a store has no place for."""
        if self.values.ndim != 3 or 0 in self.values.shape or self.values.dtype not in (np.int16, np.float32):
            raise DataError(
                f"a volume of {self.values.dtype} {list(self.values.shape)}: it must be int16 or float32 "
                "[slices, rows, columns]"
            )
        if self.values.dtype == np.float32 and not np.isfinite(self.values).all():
            raise DataError(
                "a volume with values that are not finite; say what they are before they are stored"
            )
        if not all(0 < length < float("inf") for length in self.spacing):
            raise DataError(f"a volume with a spacing of {self.spacing} mm; all three must be positive")
        axes = np.array(self.directions, dtype=np.float64)
        if axes.shape != (3, 3) or not np.allclose(axes @ axes.T, np.eye(3), atol=1e-3):
            raise DataError("a volume whose axes are no three orthogonal unit vectors")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows, columns."""
        slices, rows, columns = self.values.shape
        return slices, rows, columns


def compact(values: NDArray[np.float32]) -> NDArray[np.int16] | NDArray[np.float32]:
    """The same numbers as int16 where that loses nothing, which holds for HU of integers."""
    if np.isfinite(values).all() and values.min() >= -32768 and values.max() <= 32767:
        small: NDArray[np.int16] = values.astype(np.int16)
        if np.array_equal(small, values):
            return small
    return values
