"""Opacus' ghost clipping: norms in one backward, and a second one of the weighted losses.

It knows the norm of an image's gradient, not of a patient's mean over several images. Patients with one image
go through it; those with more go through ``hooks``.
"""

import torch
from opacus.grad_sample import GradSampleModuleFastGradientClipping
from torch import nn

from client_app.training.batches import Batch
from client_app.training.engines.engine import Losses, clip_factors, only, trainable
from client_app.training.engines.hooks import Hooks, hooked, refuse_padding, refuse_unused


class Ghost:
    """See the module.

    Args:
        network: images ``[n, ...]`` to scores ``[n, ...]``.
        clipping_norm: C.
        losses: of each image.

    Raises:
        PrivacyError: Opacus cannot tell this network's gradients.
    """

    def __init__(self, network: nn.Module, clipping_norm: float, losses: Losses) -> None:
        refuse_padding(network)
        self._network = network
        self._clipping_norm = clipping_norm
        self._losses = losses
        self._parameters = trainable(network)
        self._hooks = Hooks(network, clipping_norm, losses)

    def clipped_sum(self, batch: Batch) -> list[torch.Tensor]:
        """See ``Engine``."""
        single = torch.bincount(batch.rows, minlength=batch.patients) == 1
        sums = self._of_single_images(only(batch, single))
        if single.all():
            return sums
        others = self._hooks.clipped_sum(only(batch, ~single))
        return [a + b for a, b in zip(sums, others, strict=True)]

    def _of_single_images(self, batch: Batch) -> list[torch.Tensor]:
        if not batch.patients:
            return [torch.zeros_like(p) for p in self._parameters]
        with hooked(
            GradSampleModuleFastGradientClipping, self._network, max_grad_norm=self._clipping_norm
        ) as network:
            losses = self._losses(network(batch.images), batch.targets)
            torch.autograd.backward(losses.sum(), retain_graph=True)
            refuse_unused(self._network, "_norm_sample")
            norms: torch.Tensor = network.get_norm_sample().detach()
            factors = clip_factors(norms.square(), self._clipping_norm)
            network.disable_hooks()
            if factors.all():
                return list(torch.autograd.grad((losses * factors[batch.rows]).sum(), self._parameters))
        # What is not finite would still be so times zero.
        return self._of_single_images(only(batch, factors != 0))
