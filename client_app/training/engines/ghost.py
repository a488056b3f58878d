"""Opacus' ghost clipping: norms in one backward, and a second one of the weighted losses.

It knows the norm of an image's gradient, not of a patient's mean over several images. Patients with one image
go through it; those with more go through ``hooks``.
"""

import torch
from opacus.grad_sample import GradSampleModuleFastGradientClipping

from client_app.training.batches import Batch
from client_app.training.engines.engine import clip_factors, only
from client_app.training.engines.hooks import Hooks, hooked, refuse_unused


class Ghost(Hooks):
    """See the module; it is made as ``Hooks`` is."""

    def clipped_sum(self, batch: Batch) -> list[torch.Tensor]:
        """See ``Engine``."""
        single = torch.bincount(batch.rows, minlength=batch.patients) == 1
        sums = self._of_single_images(only(batch, single))
        if single.all():
            return sums
        others = super().clipped_sum(only(batch, ~single))
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
