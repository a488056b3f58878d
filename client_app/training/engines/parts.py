"""A parameter's share of patients' gradients, as numbers or as what they are products of.

A weight's gradient from one image is a product, ``sum over positions t of g_t x_t'``. Its squared norm is
``sum over t, s of (x_t . x_s)(g_t . g_s)``, so that where positions are few the product never need be formed
patient by patient (Goodfellow 2015, 1510.01799; Bu et al. 2022, 2205.10683).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from client_app.training.batches import Batch
from client_app.training.engines.engine import by_patient, squared_norms

# Rounding errors that a sum over positions may gather, in units of the last place of its largest terms.
_ROUNDINGS = 32
# The share of a patient's norm that rounding errors may be at most; where positions cancel more than that,
# the patient is scaled down until they are.
_LARGEST_ERROR = 1e-3
# Of rows: beyond it, what they are multiplied with may be so small that float32 holds few of its digits.
_LARGEST_ROW = 2.0**60


class Part(Protocol):
    """What one batch's patients give to one parameter."""

    def squares(self) -> torch.Tensor:
        """The squared norms ``[patients]`` of their gradients of this parameter."""

    def weighted(self, factors: torch.Tensor) -> torch.Tensor:
        """The sum of their gradients times ``factors`` ``[patients]``, shaped as the parameter.

        All of them have to be finite.
        """


class Numbers:
    """Gradients that were computed, image by image ``[images, ...]``."""

    def __init__(self, per_image: torch.Tensor, batch: Batch) -> None:
        self._per_patient = by_patient(per_image, batch)

    def squares(self) -> torch.Tensor:
        """See ``Part``."""
        return squared_norms(self._per_patient)

    def weighted(self, factors: torch.Tensor) -> torch.Tensor:
        """See ``Part``."""
        return (factors @ self._per_patient.flatten(1)).view(self._per_patient.shape[1:])


@dataclass(frozen=True)
class Product:
    """A weight's gradients as products.

    Attributes:
        x: the layer's input ``[images, ...]``.
        g: the gradient of its output ``[images, ...]``.
        rows: gives both as rows, ``[images, positions, inputs]`` and ``[images, positions, outputs]``.
        weight_gradient: x and g to the gradient summed over images.
        batch: whose images they are.
    """

    x: torch.Tensor
    g: torch.Tensor
    rows: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    weight_gradient: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    batch: Batch

    def squares(self) -> torch.Tensor:
        """See ``Part``; all images of a patient together, since its gradient is their sum."""
        x, g = self.rows(self.x, self.g)
        patients = len(self.batch.counted)
        return _squares_of_products(
            x.reshape(patients, -1, x.shape[-1]), g.reshape(patients, -1, g.shape[-1])
        )

    def weighted(self, factors: torch.Tensor) -> torch.Tensor:
        """See ``Part``."""
        of_images = factors.repeat_interleave(self.batch.each).view(-1, *[1] * (self.g.dim() - 1))
        return self.weight_gradient(self.x, self.g * of_images)


def _squares_of_products(x: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    """Squared norms ``[p]`` of ``g' x``: rows ``[p, positions, inputs]``, ``[p, positions, outputs]``.

    Rounded up. Where positions cancel, rounding errors are as large as the whole, and a model made for it
    could hide a patient's gradient in them. So the norm is computed in float64, and what the gradient itself
    may be off by, in the precision in which it is summed, is added. These errors depend on who else is in the
    sum; so they are kept to a share of the norm. Rows that are nearly infinite make a norm that is.
    """
    unit = _ROUNDINGS * torch.finfo(x.dtype).eps
    x, g = x.double(), g.double()
    rows_x, rows_g = x.square().sum(2).sqrt(), g.square().sum(2).sqrt()
    if x.shape[1] == 1:
        squares = (rows_x * rows_g).square().flatten()
    else:
        errors = unit * (rows_x * rows_g).sum(1)
        grams = torch.bmm(x, x.transpose(1, 2)) * torch.bmm(g, g.transpose(1, 2))
        norms = grams.flatten(1).sum(1).clamp(min=0.0).sqrt() + errors
        squares = torch.maximum(norms, errors / _LARGEST_ERROR).square()
    largest = torch.maximum(rows_x.amax(1), rows_g.amax(1))
    return torch.where(largest <= _LARGEST_ROW, squares, torch.inf)
