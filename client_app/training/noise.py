"""Gaussian noise on a grid, so that no bit of the result tells where it came from.

Added in floating point, noise and data leave their own patterns in the last bits of a sum: where the data are
exactly zero the sum lies on the noise's lattice, and an attacker sees whether they were (Mironov 2012). Here
the data are rounded to a grid first, the noise is rounded to the same grid, and both are added as integers.
Rounded noise plus an integer is the rounding of a real Gaussian sum, so the analysis of the Gaussian
mechanism holds, for a sum whose sensitivity rounding has raised from C to C + sqrt(d) grid steps; the noise
is scaled to that.

Guarantee: unit = patient, adjacency = add or remove one patient, noise of ``noise_multiplier`` times the
sensitivity. Assumption: the sum moves by at most C in L2 when one patient comes or goes.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from client_app.training.stream import Stream

# Grid steps in the largest power of two that is at most C.
_STEPS = 2**20


def add_noise(
    totals: list[torch.Tensor], noise_multiplier: float, clipping_norm: float, stream: Stream
) -> list[torch.Tensor]:
    """``totals`` with noise, float64 in the same shapes, every number a multiple of the grid step.

    Args:
        totals: the clipped sum, one tensor for each parameter.
        noise_multiplier: standard deviation over sensitivity.
        clipping_norm: C.
        stream: drawn from for this one release.
    """
    step = grid_step(clipping_norm)
    count = sum(total.numel() for total in totals)
    deviation = noise_multiplier * (clipping_norm + math.sqrt(count) * step)
    noise = _steps(stream.normal(count) * deviation, step)
    flat = torch.cat([total.detach().flatten() for total in totals]).double().numpy()
    released = torch.from_numpy((_steps(flat, step) + noise) * step)
    pieces = torch.split(released, [total.numel() for total in totals])
    return [piece.view_as(total) for piece, total in zip(pieces, totals, strict=True)]


def noise_share(count: int, deviation: float, stream: Stream) -> NDArray[np.int64]:
    """One site's share of distributed noise, in levels of its grid; see docs/decisions/0010.

    Args:
        count: of the numbers that it is for.
        deviation: in levels, from ``federation.sums.share_deviation``.
        stream: drawn from for this one release.

    Returns:
        int64 ``[count + 1]``, as ``federation.secure_sum.ring.encode`` takes it; the weight has none.
    """
    return np.concatenate([[0], np.rint(stream.normal(count) * deviation).astype(np.int64)])


def grid_step(clipping_norm: float) -> float:
    """The grid's step, a power of two, so that multiples of it are exact."""
    return 2.0 ** math.floor(math.log2(clipping_norm)) / _STEPS


def _steps(values: NDArray[np.float64], step: float) -> NDArray[np.int64]:
    return np.rint(values / step).astype(np.int64)
