"""CT patches as a network wants them, rendered or somebody's own."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from federation.errors import DataError
from tasks.nodule_ct.render import LEAST_HU, MOST_HU
from tasks.nodule_ct.shape import PIXEL, SIZE

_TAKES = f"nodule_ct takes .npy files: {SIZE} x {SIZE} numbers in HU, {PIXEL} mm a pixel, around the nodule"


def scale(hounsfield: NDArray[np.generic]) -> NDArray[np.float32]:
    """HU as a network wants them: `LEAST_HU` becomes -1, `MOST_HU` becomes 1."""
    middle, half = (MOST_HU + LEAST_HU) / 2, (MOST_HU - LEAST_HU) / 2
    return (hounsfield.astype(np.float32) - np.float32(middle)) / np.float32(half)


def read_patch(path: Path) -> NDArray[np.float32]:
    """A patch, ``[1, 64, 64]``, rounded and windowed as the renderer does it.

    Pictures are refused: their grey values say nothing of HU without the window that made them.

    Raises:
        DataError: the file holds no such patch.
    """
    if path.suffix.lower() != ".npy":
        raise DataError(f"{path.name} holds no HU; {_TAKES}")
    try:
        with path.open("rb") as file:
            values = np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path.name} cannot be read ({error}); {_TAKES}") from error
    if values.shape != (SIZE, SIZE) or values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise DataError(f"{path.name} holds {values.dtype} {list(values.shape)}; {_TAKES}")
    return scale(np.clip(np.rint(values.astype(np.float64)), LEAST_HU, MOST_HU))[None]
