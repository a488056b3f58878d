"""Sums of gradients in which a patient counts once.

A patient's gradient is the mean over that patient's images. With a clipping norm C it is scaled down to L2
norm C at most, over all trainable parameters together. ``client_app.training.engines`` has several ways to
that sum.

Guarantee of the clipped sum, before noise: unit = patient, adjacency = add or remove one patient; the sum
then moves by at most C in L2, but for the rounding of the sum itself, however many images the patient has.
Assumptions: every layer treats the images of a batch apart from each other, which ``federation.dp_ready``
sees to; neither shapes of batches nor places in them depend on who is there, which ``training.batches`` and
``training.places`` see to.
"""

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from client_app.site import EngineName
from client_app.training.batches import Batch
from client_app.training.engines import ENGINES
from client_app.training.engines.engine import Losses, patient_loss, trainable
from federation.errors import PrivacyError

_MOST_IMAGES = 256


class PatientGradients:
    """Gradients of one network, patient by patient.

    Args:
        network: images ``[n, ...]`` to scores ``[n, classes]``; only parameters that require gradients get
            one.
        clipping_norm: C; None sums the patients' gradients as they are, by plain autograd.
        class_weights: weight of each class in the cross entropy.
        engine: the way to the clipped sum.
        memory_mib: MiB that the gradients of one batch's images may take.

    Raises:
        PrivacyError: nothing is trainable, or the engine cannot do this network.
    """

    def __init__(
        self,
        network: nn.Module,
        clipping_norm: float | None,
        class_weights: tuple[float, ...] | None = None,
        engine: EngineName = "book_keeping",
        memory_mib: int = 512,
    ) -> None:
        self.parameters = trainable(network)
        if not self.parameters:
            raise PrivacyError("no parameter of the network is trainable; choose another model.trainable")
        self._network = network
        self._losses = cross_entropies(class_weights)
        self._memory = memory_mib * 2**20
        self._engine = (
            None if clipping_norm is None else ENGINES[engine](network, clipping_norm, self._losses)
        )

    @property
    def images_at_once(self) -> int:
        """How many images' gradients fit into the memory set aside for them."""
        per_image = 4 * sum(int(p.numel()) for p in self.parameters)
        return max(1, min(_MOST_IMAGES, self._memory // per_image))

    def squared_norms(self, batch: Batch) -> torch.Tensor:
        """The squares of what the engine scales patients by, float64 ``[patients]``.

        Raises:
            PrivacyError: there is no clipping norm, and so no engine.
        """
        if self._engine is None:
            raise PrivacyError("gradients that are not clipped have no engine; give a clipping norm")
        return self._engine.squared_norms(batch)

    def total(self, batches: Iterable[Batch]) -> list[torch.Tensor]:
        """The sum over all patients of ``batches``, shaped as the parameters; zeros without patients."""
        sums: list[torch.Tensor] | None = None
        for batch in batches:
            parts = self._batch_sum(batch)
            sums = parts if sums is None else [a + b for a, b in zip(sums, parts, strict=True)]
        return [torch.zeros_like(p) for p in self.parameters] if sums is None else sums

    def _batch_sum(self, batch: Batch) -> list[torch.Tensor]:
        if self._engine is not None:
            return self._engine.clipped_sum(batch)
        batch = batch.unfilled()  # no promise is made that shapes could break
        loss = patient_loss(self._network(batch.images), batch, self._losses)
        return list(torch.autograd.grad(loss, self.parameters))


def cross_entropies(class_weights: tuple[float, ...] | None) -> Losses:
    """The loss of each image, with these weights of the classes."""
    weights = None if class_weights is None else torch.tensor(class_weights)

    def losses(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return cross_entropy(scores, targets, weights, reduction="none")

    return losses
