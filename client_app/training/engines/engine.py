"""What every engine does: one batch's sum of clipped gradients, and the scaling that clips.

Guarantee of the sum, before noise: unit = patient, adjacency = add or remove one patient; it then moves by at
most C in L2, but for the rounding of the sum itself, however many images the patient has. Assumptions: every
layer treats the images of a batch apart from each other, which ``federation.dp_ready`` sees to; and batches
have shapes that do not tell who is there, which ``training.batches`` sees to.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import nn

from client_app.training.batches import Batch

# Numbers of each patient's gradient that are squared at once, so that the squares stay in the cache.
_PIECE = 2**16

# The smallest factor that scales a patient; near the end of float32's range it would itself be rounded up.
_SMALLEST_FACTOR = 2.0**-100

# Scores [images, ...] and targets [images] to the loss of each image, [images].
Losses = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Engine(Protocol):
    """A way to the sum over patients of their gradients, each scaled to L2 norm C at most.

    A patient's gradient is the mean over that patient's images. One that is not finite, or whose squared norm
    is not, counts as zero, and so does a patient that the batch does not count. A batch leaves nothing behind
    in the network, even one that breaks off.
    """

    def squared_norms(self, batch: Batch) -> torch.Tensor:
        """The squares of what patients are scaled by, float64 ``[patients]``.

        Raises:
            PrivacyError: as ``clipped_sum``.
        """

    def clipped_sum(self, batch: Batch) -> list[torch.Tensor]:
        """The sum of one batch, for each trainable parameter a tensor of its shape.

        Raises:
            PrivacyError: this engine cannot bound what a patient adds; the text says why.
        """


def trainable(network: nn.Module) -> list[Any]:
    """The parameters that learn, in the order in which sums are given."""
    return [p for p in network.parameters() if p.requires_grad]


def patient_loss(scores: torch.Tensor, batch: Batch, losses: Losses) -> torch.Tensor:
    """The sum over the patients who count of the mean loss of each one's images."""
    means = losses(scores, batch.targets).view(-1, batch.each).mean(1)
    return torch.where(batch.counted, means, 0.0).sum()


def by_patient(per_image: torch.Tensor, batch: Batch) -> torch.Tensor:
    """``[images, ...]`` summed to ``[patients, ...]``."""
    return per_image if batch.each == 1 else per_image.reshape(-1, batch.each, *per_image.shape[1:]).sum(1)


def without(batch: Batch, refused: torch.Tensor) -> Batch | None:
    """``batch`` in the same shape, copies of another in the places of the ``refused`` ``[patients]``.

    None if nobody is left to count.
    """
    left = batch.counted & ~refused
    if not left.any():
        return None
    patients = torch.arange(len(left))
    patients[refused] = patients[left][0]
    index = (patients[:, None] * batch.each + torch.arange(batch.each)).flatten()
    return Batch(batch.images[index], batch.targets[index], left)


def clip_factors(squares: torch.Tensor, clipping_norm: float, batch: Batch) -> torch.Tensor:
    """What scales gradients of these squared norms ``[patients]`` to L2 norm ``clipping_norm`` at most.

    Who does not count gets the factor zero, and so does what is not finite or nearly so: were it passed on, a
    model made to overflow on one patient alone would tell, past all noise, that the patient is there.
    """
    factors = (clipping_norm / squares.sqrt().clamp(min=1e-12)).clamp(max=1.0)
    return torch.where(squares.isfinite() & batch.counted & (factors >= _SMALLEST_FACTOR), factors, 0.0)


def _without_refused(values: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """``values`` ``[n, ...]`` with zeros where the factor ``[n]`` is: infinity times zero would not be."""
    refused = factors == 0
    if not refused.any():
        return values
    return values.masked_fill(refused.view(-1, *[1] * (values.dim() - 1)), 0.0)


def weighted_sum(per_patient: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """``[patients, ...]`` times the factors ``[patients]``, summed over patients."""
    flat = _without_refused(per_patient.flatten(1), factors)
    return (factors @ flat).view(per_patient.shape[1:])


def clipped_sum(per_patient: list[torch.Tensor], clipping_norm: float, batch: Batch) -> list[torch.Tensor]:
    """Scale each patient's gradient to L2 norm ``clipping_norm`` at most, and sum over those who count.

    Args:
        per_patient: for each parameter, ``[patients, ...]``.
        clipping_norm: C.
        batch: whose gradients they are.
    """
    factors = clip_factors(total_squares(per_patient), clipping_norm, batch).to(per_patient[0].dtype)
    return [weighted_sum(g, factors) for g in per_patient]


def total_squares(per_patient: list[torch.Tensor]) -> torch.Tensor:
    """Squared norms over all parameters together, float64 ``[patients]``."""
    return torch.stack([squared_norms(g).double() for g in per_patient]).sum(0)


def squared_norms(per_patient: torch.Tensor) -> torch.Tensor:
    """``[patients, ...]`` to the squares of their L2 norms, ``[patients]``.

    Summed by torch's cascade, in pieces: its norms of long float32 vectors can come out 0.06 % too small.
    """
    if per_patient[:1].numel() <= _PIECE:
        return per_patient.flatten(1).square().sum(1)
    pieces = torch.split(per_patient.flatten(1), _PIECE, dim=1)
    return torch.stack([piece.square().sum(1) for piece in pieces]).sum(0)
