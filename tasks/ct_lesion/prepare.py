"""From a stored volume to what a network sees, by MONAI's transforms; the same numbers at every hospital."""

from functools import lru_cache

import numpy as np
from monai.data.meta_tensor import MetaTensor
from monai.transforms.compose import Compose
from monai.transforms.croppad.array import ResizeWithPadOrCrop
from monai.transforms.intensity.array import ScaleIntensityRange
from monai.transforms.spatial.array import Spacing
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from federation.site_store import Directions
from tasks.ct_lesion.settings import Plane, Settings

# Which way the axes of a prepared volume point: out of the slice, down and across the picture, in terms of
# left, posterior, superior. Pictures are as radiologists look at them: the patient's left is on the right.
_AXES: dict[Plane, tuple[tuple[int, int], tuple[int, int], tuple[int, int]]] = {
    "axial": ((2, 1), (1, 1), (0, 1)),
    "coronal": ((1, 1), (2, -1), (0, 1)),
    "sagittal": ((0, 1), (2, -1), (1, 1)),
}


def prepare(
    values: NDArray[np.generic],
    spacing: tuple[float, float, float],
    directions: Directions,
    settings: Settings,
) -> NDArray[np.float32]:
    """The slice through the middle, float32 ``[1, size, size]``, from -1 to 1.

    Args:
        values: as measured, ``[slices, rows, columns]``.
        spacing: mm between slices, rows and columns.
        directions: of the array's axes in the patient.
        settings: of the study.
    """
    turned, distances = oriented(values, spacing, directions, settings.plane)
    middle = np.ascontiguousarray(turned[len(turned) // 2][None].astype(np.float32))
    picture = MetaTensor(middle, affine=np.diag([*distances[1:], 1.0]))
    prepared: NDArray[np.float32] = np.clip(_transforms(settings)(picture).numpy(), -1, 1)
    return prepared.astype(np.float32)


def window(values: NDArray[np.generic], settings: Settings) -> NDArray[np.float32]:
    """``low`` becomes -1 and ``high`` 1, float32 of the same shape; what lies beyond is cut off."""
    scaled: NDArray[np.float32] = np.clip(_window(settings)(values.astype(np.float32)).numpy(), -1, 1)
    return scaled.astype(np.float32)


def oriented(
    values: NDArray[np.generic], spacing: tuple[float, float, float], directions: Directions, plane: Plane
) -> tuple[NDArray[np.generic], tuple[float, float, float]]:
    """The same volume with its axes as the plane wants them, and the spacing along these.

    Axes change places and ends, and nothing is interpolated: each goes to the patient's nearest direction, as
    MONAI's ``Orientation``, which needs nibabel, does for slices that lean by less than 35 degrees.
    """
    along = np.array(directions)
    axes, patient = linear_sum_assignment(-np.abs(along))
    axis_of = dict(zip(patient.tolist(), axes.tolist(), strict=True))
    order = [axis_of[direction] for direction, _ in _AXES[plane]]
    flips = tuple(
        place
        for place, (direction, sign) in enumerate(_AXES[plane])
        if along[axis_of[direction], direction] * sign < 0
    )
    distances = tuple(spacing[axis] for axis in order)
    return np.flip(values.transpose(order), flips), (distances[0], distances[1], distances[2])


@lru_cache(maxsize=8)
def _transforms(settings: Settings) -> Compose:
    return Compose(
        [
            Spacing(pixdim=(settings.spacing, settings.spacing), mode="bilinear", padding_mode="border"),
            _window(settings),
            ResizeWithPadOrCrop(spatial_size=(settings.size, settings.size), mode="constant", value=-1),
        ]
    )


def _window(settings: Settings) -> ScaleIntensityRange:
    """From the middle to 0 and from the upper end to 1: fewer roundings than from end to end."""
    middle, half = (settings.high + settings.low) / 2, (settings.high - settings.low) / 2
    return ScaleIntensityRange(a_min=middle, a_max=middle + half, b_min=0.0, b_max=1.0, clip=False)
