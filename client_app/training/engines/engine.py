"""What every engine does: one batch's sum of clipped gradients, and the scaling that clips.

Guarantee of the sum, before noise: unit = patient, adjacency = add or remove one patient; it then moves by at
most C in L2, however many images the patient has. Assumption: every layer treats the images of a batch apart
from each other, which ``federation.dp_ready`` sees to.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import nn

from client_app.training.batches import Batch

# Numbers of each patient's gradient that are squared at once, so that the squares stay in the cache.
_PIECE = 2**16

# Scores [images, ...] and targets [images] to the loss of each image, [images].
Losses = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Engine(Protocol):
    """A way to the sum over patients of their gradients, each scaled to L2 norm C at most.

    A patient's gradient is the mean over that patient's images. One that is not finite, or whose squared norm
    is not, counts as zero. A batch leaves nothing behind in the network, even one that breaks off.
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
    """The sum over patients of the mean loss of each one's images."""
    images_of = torch.bincount(batch.rows, minlength=batch.patients)
    return (losses(scores, batch.targets) / images_of[batch.rows]).sum()


def by_patient(per_image: torch.Tensor, batch: Batch) -> torch.Tensor:
    """``[images, ...]`` summed to ``[patients, ...]``."""
    if one_image_each(batch):
        return per_image
    shape = (batch.patients, *per_image.shape[1:])
    return torch.zeros(shape, dtype=per_image.dtype).index_add_(0, batch.rows, per_image)


def one_image_each(batch: Batch) -> bool:
    """Whether images and patients are the same, in the same order."""
    return batch.patients == len(batch.rows)


def only(batch: Batch, patients: torch.Tensor) -> Batch:
    """The patients whom the mask ``[patients]`` names."""
    if patients.all():
        return batch
    images = patients[batch.rows]
    return Batch(
        images=batch.images[images],
        targets=batch.targets[images],
        rows=(patients.cumsum(0) - 1)[batch.rows[images]],
        patients=int(patients.sum()),
    )


def clip_factors(squares: torch.Tensor, clipping_norm: float) -> torch.Tensor:
    """What scales gradients of these squared norms ``[patients]`` to L2 norm ``clipping_norm`` at most.

    What is not finite gets the factor zero: were it passed on, a model made to overflow on one patient alone
    would tell, past all noise, that the patient is there.
    """
    factors = (clipping_norm / squares.sqrt().clamp(min=1e-12)).clamp(max=1.0)
    return torch.where(squares.isfinite(), factors, 0.0)


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


def clipped_sum(per_patient: list[torch.Tensor], clipping_norm: float) -> list[torch.Tensor]:
    """Scale each patient's gradient to L2 norm ``clipping_norm`` at most, and sum over patients.

    Args:
        per_patient: for each parameter, ``[patients, ...]``.
        clipping_norm: C.
    """
    squares = torch.stack([squared_norms(g) for g in per_patient]).sum(0)
    factors = clip_factors(squares, clipping_norm)
    return [weighted_sum(g, factors) for g in per_patient]


def squared_norms(per_patient: torch.Tensor) -> torch.Tensor:
    """``[patients, ...]`` to the squares of their L2 norms, ``[patients]``.

    Summed by torch's cascade, in pieces: its norms of long float32 vectors can come out 0.06 % too small.
    """
    if per_patient[:1].numel() <= _PIECE:
        return per_patient.flatten(1).square().sum(1)
    pieces = torch.split(per_patient.flatten(1), _PIECE, dim=1)
    return torch.stack([piece.square().sum(1) for piece in pieces]).sum(0)
