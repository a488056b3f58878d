"""A collection of X-rays in memory, wherever it came from."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Collection:
    """Images and what is known of each.

    Attributes:
        images: uint8 ``[images, size, size]``.
        labels: int64 ``[images]``, the place of the label among the classes.
        patients: a pseudonym for each image.
        held_out: bool ``[images]``, the images that measure the model; no patient is on both sides.
        sites: the hospital of each image where a list tells; otherwise empty.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    patients: list[str]
    held_out: NDArray[np.bool_]
    sites: list[str]
