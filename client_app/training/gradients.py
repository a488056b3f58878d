"""Sums of gradients in which a patient counts once.

A patient's gradient is the mean over that patient's images. With a clipping norm C it is scaled down to L2
norm C at most, over all trainable parameters together.

Guarantee of the clipped sum, before noise: unit = patient, adjacency = add or remove one patient; the sum
then moves by at most C in L2, however many images the patient has. Assumption: every layer treats the images
of a batch apart from each other, which ``federation.dp_ready`` sees to.
"""

import warnings
from collections.abc import Iterable
from typing import Any

import torch
from opacus import GradSampleModule
from torch import nn
from torch.nn.functional import cross_entropy

from client_app.training.batches import Batch
from federation.errors import PrivacyError

# Torch warns that images need no gradient themselves; that is so at the first layer of every network here.
warnings.filterwarnings("ignore", message="Full backward hook is firing")

# Bytes that the per-image gradients of one batch may take.
_MEMORY = 512 * 2**20


class PatientGradients:
    """Gradients of one network, patient by patient.

    Args:
        network: images ``[n, ...]`` to scores ``[n, classes]``; only parameters that require gradients get
            one.
        clipping_norm: C; None sums the patients' gradients as they are.
        class_weights: weight of each class in the cross entropy.
    """

    def __init__(
        self, network: nn.Module, clipping_norm: float | None, class_weights: tuple[float, ...] | None = None
    ) -> None:
        self.parameters: list[Any] = [p for p in network.parameters() if p.requires_grad]
        if not self.parameters:
            raise PrivacyError("no parameter of the network is trainable; choose another model.trainable")
        self._clipping_norm = clipping_norm
        self._weights = None if class_weights is None else torch.tensor(class_weights)
        self._network = (
            network if clipping_norm is None else GradSampleModule(network, loss_reduction="sum", strict=True)
        )

    @property
    def images_at_once(self) -> int:
        """How many images' gradients fit into the memory set aside for them."""
        per_image = 4 * sum(int(p.numel()) for p in self.parameters)
        return max(1, min(256, _MEMORY // per_image))

    def total(self, batches: Iterable[Batch]) -> list[torch.Tensor]:
        """The sum over all patients of ``batches``, shaped as the parameters; zeros without patients."""
        sums = [torch.zeros_like(p) for p in self.parameters]
        for batch in batches:
            sums = [total + part for total, part in zip(sums, self._batch_sum(batch), strict=True)]
        return sums

    def _batch_sum(self, batch: Batch) -> list[torch.Tensor]:
        images_of = torch.bincount(batch.rows, minlength=batch.patients)
        losses = cross_entropy(self._network(batch.images), batch.targets, self._weights, reduction="none")
        loss = (losses / images_of[batch.rows]).sum()
        if self._clipping_norm is None:
            return list(torch.autograd.grad(loss, self.parameters))
        try:
            torch.autograd.backward(loss)
            per_patient = [_by_patient(p.grad_sample, batch) for p in self.parameters]
        finally:
            for p in self.parameters:
                p.grad = p.grad_sample = None
        return clipped_sum(per_patient, self._clipping_norm)


def _by_patient(per_image: torch.Tensor, batch: Batch) -> torch.Tensor:
    """``[images, ...]`` to ``[patients, ...]``; the images' weights already make it a mean."""
    shape = (batch.patients, *per_image.shape[1:])
    return torch.zeros(shape, dtype=per_image.dtype).index_add_(0, batch.rows, per_image)


def clipped_sum(per_patient: list[torch.Tensor], clipping_norm: float) -> list[torch.Tensor]:
    """Scale each patient's gradient to L2 norm ``clipping_norm`` at most, and sum over patients.

    What is not finite counts as zero: were it passed on, a model made to overflow on one patient alone would
    tell, past all noise, that the patient is there.

    Args:
        per_patient: for each parameter, ``[patients, ...]``.
        clipping_norm: C.
    """
    per_patient = [torch.nan_to_num(g, nan=0.0, posinf=0.0, neginf=0.0) for g in per_patient]
    squares = torch.stack([g.flatten(1).square().sum(1) for g in per_patient]).sum(0)
    scale = (clipping_norm / squares.sqrt().clamp(min=1e-12)).clamp(max=1.0)
    return [torch.einsum("p,p...->...", scale, g) for g in per_patient]
