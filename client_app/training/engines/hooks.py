"""Opacus' hooks: every image's gradient of every parameter is written out, then clipped."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from opacus import GradSampleModule
from torch import nn

from client_app.training.batches import Batch
from client_app.training.engines.engine import (
    Losses,
    by_patient,
    clipped_sum,
    patient_loss,
    total_squares,
    trainable,
)
from federation.errors import PrivacyError

# Torch warns that images need no gradient themselves; that is so at the first layer of every network here.
warnings.filterwarnings("ignore", message="Full backward hook is firing")

# What Opacus hangs on parameters and layers, and leaves there when a batch breaks off.
_ON_PARAMETERS = ("grad_sample", "summed_grad", "_forward_counter", "_current_grad_sample", "_norm_sample")
_ON_LAYERS = ("activations", "max_batch_len")


class Hooks:
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

    def squared_norms(self, batch: Batch) -> torch.Tensor:
        """See ``Engine``."""
        return total_squares(self._per_patient(batch))

    def clipped_sum(self, batch: Batch) -> list[torch.Tensor]:
        """See ``Engine``."""
        return clipped_sum(self._per_patient(batch), self._clipping_norm, batch)

    def _per_patient(self, batch: Batch) -> list[torch.Tensor]:
        with hooked(GradSampleModule, self._network) as network:
            torch.autograd.backward(patient_loss(network(batch.images), batch, self._losses))
            refuse_unused(self._network, "grad_sample")
            per_image = [p.grad_sample for p in self._parameters]
        return [by_patient(g, batch) for g in per_image]


@contextmanager
def hooked(kind: type[Any], network: nn.Module, **options: object) -> Iterator[Any]:
    """``network`` wrapped by Opacus, and bare again afterwards, whatever happens.

    Raises:
        PrivacyError: Opacus does not take it.
    """
    wrapped = None
    try:
        wrapped = kind(network, loss_reduction="sum", strict=True, **options)
        yield wrapped
    except NotImplementedError as error:
        raise PrivacyError(f"Opacus cannot tell this network's gradients: {error}") from error
    finally:
        if wrapped is not None:
            wrapped.remove_hooks()
        _scrub(network)


def refuse_padding(network: nn.Module) -> None:
    """Refuse convolutions that pad with anything but zeros: Opacus' gradients of those are wrong.

    It says nothing of it; one patient contributed 1.38 times the clipping norm.
    """
    for name, layer in network.named_modules():
        if getattr(layer, "padding_mode", "zeros") != "zeros":
            raise PrivacyError(
                f"layer {name or 'network'} has padding_mode={layer.padding_mode!r}, whose gradients Opacus "
                "gets wrong; use padding_mode=zeros, or site.resources.engine=functional"
            )


def refuse_unused(network: nn.Module, what: str) -> None:
    """Refuse parameters that a backward passed by: Opacus has nothing to say of them."""
    unused = [
        name for name, p in network.named_parameters() if p.requires_grad and getattr(p, what, None) is None
    ]
    if unused:
        raise PrivacyError(f"Opacus has no gradient of {unused}; freeze what the network does not use")


def _scrub(network: nn.Module) -> None:
    for parameter in network.parameters():
        parameter.grad = None
        for name in _ON_PARAMETERS:
            vars(parameter).pop(name, None)
    for layer in network.modules():
        for name in _ON_LAYERS:
            vars(layer).pop(name, None)
