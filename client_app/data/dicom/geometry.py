"""Where a slice lies in the patient (PS3.3 sections C.7.6.2 and C.7.6.16.2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from client_app.data.dicom.groups import functional_group
from client_app.data.refusal import Refused

# How far the two directions may be from unit length and from a right angle, for numbers of 16 characters.
_ROUNDING = 1e-3
# Projections have no place in the patient, and the size of a pixel is that of the detector.
PROJECTIONS = frozenset(["CR", "DX", "MG", "RG"])
_UPRIGHT = (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)  # position and axes as for somebody who stands


@dataclass(frozen=True)
class Plane:
    """One slice.

    Attributes:
        position: mm left, posterior, superior of the centre of its first pixel, float64 ``[3]``.
        along_columns: unit vector from one row to the next, i.e. down the picture, ``[3]``.
        along_rows: unit vector from one column to the next, i.e. across the picture, ``[3]``.
        spacing: mm between rows and between columns.
        thickness: mm, where it is said; else 0.
        between: mm to the next slice, where it is said; else 0.
    """

    position: NDArray[np.float64]
    along_columns: NDArray[np.float64]
    along_rows: NDArray[np.float64]
    spacing: tuple[float, float]
    thickness: float
    between: float

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector out of the slice."""
        return np.cross(self.along_rows, self.along_columns)

    @property
    def along(self) -> float:
        """How far up the normal it lies, in mm."""
        return float(self.position @ self.normal)


def plane(dataset: Dataset, frame: int) -> Plane:
    """The place of a frame.

    Raises:
        Refused: it is not said (``no-spacing``, ``no-geometry``) or cannot be (``bad-geometry``).
    """
    measures = functional_group(dataset, frame, "PixelMeasuresSequence") or dataset
    spacing = _numbers(measures.get("PixelSpacing"), 2)
    is_projection = dataset.get("Modality") in PROJECTIONS
    if spacing is None and is_projection:
        spacing = _numbers(dataset.get("ImagerPixelSpacing"), 2)
    if spacing is None:
        raise Refused("no-spacing", "the file does not say how large its pixels are (PixelSpacing)")
    if not all(1e-4 < length < 1e3 for length in spacing):
        raise Refused("bad-geometry", f"PixelSpacing={spacing[0]:g} x {spacing[1]:g} mm cannot be")
    where = functional_group(dataset, frame, "PlanePositionSequence") or dataset
    how = functional_group(dataset, frame, "PlaneOrientationSequence") or dataset
    position = _numbers(where.get("ImagePositionPatient"), 3)
    axes = _numbers(how.get("ImageOrientationPatient"), 6)
    if is_projection and (position is None or axes is None):
        position, axes = _UPRIGHT
    if position is None or axes is None:
        raise Refused("no-geometry", "the file does not say where its slices lie in the patient")
    across, down = np.array(axes).reshape(2, 3)
    if max(abs(across @ across - 1), abs(down @ down - 1), abs(across @ down)) > _ROUNDING:
        raise Refused("bad-geometry", "ImageOrientationPatient is no pair of orthogonal unit vectors")
    return Plane(
        position=np.array(position),
        along_columns=down / np.linalg.norm(down),
        along_rows=across / np.linalg.norm(across),
        spacing=(spacing[0], spacing[1]),
        thickness=(_numbers(measures.get("SliceThickness"), 1) or (0.0,))[0],
        between=(_numbers(measures.get("SpacingBetweenSlices"), 1) or (0.0,))[0],
    )


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    """So many finite numbers; None for anything else."""
    values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if len(values) != count:
        return None
    try:
        numbers = tuple(float(each) for each in values)
    except (TypeError, ValueError):
        return None
    return numbers if np.isfinite(numbers).all() else None
