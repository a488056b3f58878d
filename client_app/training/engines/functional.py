"""torch.func: the gradient of one image's loss, vectorised over images; any network that vmap can run."""

from typing import Any

import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from client_app.training.batches import Batch
from client_app.training.engines.engine import Losses, by_patient, clipped_sum, total_squares
from federation.errors import PrivacyError

# Images that are vectorised over at once.
_AT_ONCE = 32


class Functional:
    """See the module.

    Args:
        network: images ``[n, ...]`` to scores ``[n, ...]``.
        clipping_norm: C.
        losses: of each image.
    """

    def __init__(self, network: nn.Module, clipping_norm: float, losses: Losses) -> None:
        self._clipping_norm = clipping_norm
        self._parameters = {name: p for name, p in network.named_parameters() if p.requires_grad}

        def loss(
            parameters: dict[str, Any], image: torch.Tensor, target: torch.Tensor, each: int
        ) -> torch.Tensor:
            scores = functional_call(network, parameters, (image[None],))
            return losses(scores, target[None]).sum() / each

        self._gradients = vmap(grad(loss), in_dims=(None, 0, 0, None), chunk_size=_AT_ONCE)

    def squared_norms(self, batch: Batch) -> torch.Tensor:
        """See ``Engine``."""
        return total_squares(self._per_patient(batch))

    def clipped_sum(self, batch: Batch) -> list[torch.Tensor]:
        """See ``Engine``."""
        return clipped_sum(self._per_patient(batch), self._clipping_norm, batch)

    def _per_patient(self, batch: Batch) -> list[torch.Tensor]:
        held = {name: p.detach() for name, p in self._parameters.items()}
        try:
            per_image = self._gradients(held, batch.images, batch.targets, batch.each)
        except RuntimeError as error:
            raise PrivacyError(f"torch.func cannot vectorise this network: {error}") from error
        return [by_patient(g, batch) for g in per_image.values()]
