"""Opacus' ghost clipping: norms in one backward, and a second one of the weighted losses.

It knows the norm of an image's gradient, not of a patient's mean over several images. Patients with one image
go through it; those with more go through ``hooks``.
"""

import torch
from opacus.grad_sample import GradSampleModuleFastGradientClipping

from client_app.training.batches import Batch
from client_app.training.engines.engine import clip_factors, without
from client_app.training.engines.hooks import Hooks, hooked, refuse_unused


class Ghost(Hooks):
    """See the module; it is made as ``Hooks`` is."""

    def squared_norms(self, batch: Batch) -> torch.Tensor:
        """See ``Engine``."""
        return super().squared_norms(batch) if batch.each > 1 else self._of_single_images(batch)[0]

    def clipped_sum(self, batch: Batch) -> list[torch.Tensor]:
        """See ``Engine``."""
        return super().clipped_sum(batch) if batch.each > 1 else self._of_single_images(batch)[1]

    def _of_single_images(self, batch: Batch) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Squared norms, and the clipped sum."""
        with hooked(
            GradSampleModuleFastGradientClipping, self._network, max_grad_norm=self._clipping_norm
        ) as network:
            losses = self._losses(network(batch.images), batch.targets)
            torch.autograd.backward(losses.sum(), retain_graph=True)
            refuse_unused(self._network, "_norm_sample")
            squares: torch.Tensor = network.get_norm_sample().detach().double().square()
            network.disable_hooks()
            if squares.isfinite().all():
                factors = clip_factors(squares, self._clipping_norm, batch).to(losses.dtype)
                return squares, list(torch.autograd.grad((losses * factors).sum(), self._parameters))
        # What is not finite would still be so times zero.
        others = without(batch, ~squares.isfinite())
        if others is None:
            return squares, [torch.zeros_like(p) for p in self._parameters]
        return squares, self._of_single_images(others)[1]
