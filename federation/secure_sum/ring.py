"""Vectors as integers modulo 2^32, in which sums are exact: a weight in slot 0, then the coordinates.

A coordinate x of a site with weight q becomes rint(clip(x, ±B) * levels / B * q / weight_cap), so that the
sum over sites is that of weighted vectors and only the total weight is revealed beside it.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from federation.errors import SecureSumError
from federation.secure_sum.plan import Grid
from federation.secure_sum.transcript import Words

# Keeps the float64 in between small beside vectors of ten million coordinates.
_AT_ONCE = 2**16


def encode(
    vector: NDArray[np.float32 | np.float64],
    weight: int,
    grid: Grid,
    noise: NDArray[np.int64] | None = None,
) -> Words:
    """A site's vector on the grid.

    Args:
        vector: float32 or float64 ``[m]``; under privacy float64, since rounding twice would move it further.
        weight: how much it counts, 0 to ``grid.weight_cap``.
        grid: of the plan.
        noise: int64 ``[m + 1]``, the site's share of noise in levels, slot 0 that of the weight. It is added
            to the integers: docs/decisions/0010.

    Returns:
        uint32 ``[m + 1]``, newly made.

    Raises:
        SecureSumError: the vector is not finite or not flat, or the weight or the noise does not fit.
    """
    if vector.ndim != 1 or (noise is not None and noise.shape != (len(vector) + 1,)):
        shapes = (vector.shape, None if noise is None else noise.shape)
        raise SecureSumError("shape", "", f"vector and noise of {shapes}; they are [m] and [m + 1]")
    if not 0 <= weight <= grid.weight_cap:
        raise SecureSumError("weight", "", f"a weight of {weight} is outside 0 to {grid.weight_cap}; cap it")
    words = np.empty(len(vector) + 1, dtype=np.uint32)
    words[0] = weight
    scale = grid.levels / grid.clip_bound * (weight / grid.weight_cap)
    for part in _parts(len(vector)):
        numbers = vector[part].astype(np.float64)
        if not np.isfinite(numbers).all():
            raise SecureSumError("finite", "", "the vector has numbers that are not finite; train again")
        np.clip(numbers, -grid.clip_bound, grid.clip_bound, out=numbers)
        numbers *= scale
        np.rint(numbers, out=numbers)
        words[1:][part] = numbers.astype(np.int32).view(np.uint32)
    if noise is not None:
        for part in _parts(len(words)):
            words[part] += noise[part].astype(np.uint32)
    return words


def decode(total: Words, grid: Grid) -> tuple[NDArray[np.float32], int]:
    """The weighted mean of a sum ``[m + 1]``, float32 ``[m]``, and the total weight.

    Raises:
        SecureSumError: the total weight is not above zero.
    """
    weight = int(total[:1].view(np.int32)[0])
    if weight <= 0:
        raise SecureSumError("weight", "", f"a total weight of {weight} has no mean; ask sites with patients")
    mean = np.empty(len(total) - 1, dtype=np.float32)
    scale = grid.clip_bound * grid.weight_cap / (grid.levels * weight)
    for part in _parts(len(mean)):
        mean[part] = total[1:][part].view(np.int32) * scale
    return mean, weight


def _parts(length: int) -> Iterator[slice]:
    return (slice(start, start + _AT_ONCE) for start in range(0, length, _AT_ONCE))
