"""Book-keeping: one backward for the gradients of the layers' outputs, and all the rest from those.

Bu et al. 2022 (2210.00038). While a batch goes through, parameters require no gradient, so that the backward
spends nothing on weights; each layer's input is kept. Patients' norms follow from inputs and gradients of
outputs, layer by layer (``engines.layers``), and so does the sum in which each patient has its factor.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from client_app.training.batches import Batch
from client_app.training.engines.engine import Losses, clip_factors, patient_loss, trainable, without
from client_app.training.engines.layers import objection, parts_of
from client_app.training.engines.parts import Part
from federation.errors import PrivacyError

# Layers whose own parameters learn, and what they are called in the network.
_Layers = dict[nn.Module, str]


class BookKeeping:
    """See the module.

    Args:
        network: images ``[n, ...]`` to scores ``[n, ...]``.
        clipping_norm: C.
        losses: of each image.

    Raises:
        PrivacyError: the network has a trainable parameter whose gradient this engine cannot tell.
    """

    def __init__(self, network: nn.Module, clipping_norm: float, losses: Losses) -> None:
        self._network = network
        self._clipping_norm = clipping_norm
        self._losses = losses
        self._parameters = trainable(network)
        self._layers = _learning_layers(network)
        self._tried = False

    def squared_norms(self, batch: Batch) -> torch.Tensor:
        """See ``Engine``."""
        return _squares(self._parts(batch))

    def clipped_sum(self, batch: Batch) -> list[torch.Tensor]:
        """See ``Engine``."""
        parts = self._parts(batch)
        squares = _squares(parts)
        if not squares.isfinite().all():  # what is not finite would still be so times zero
            others = without(batch, ~squares.isfinite())
            return (
                [torch.zeros_like(p) for p in self._parameters]
                if others is None
                else self.clipped_sum(others)
            )
        factors = clip_factors(squares, self._clipping_norm, batch).to(self._parameters[0].dtype)
        return [parts[p].weighted(factors) if p in parts else torch.zeros_like(p) for p in self._parameters]

    def _parts(self, batch: Batch) -> dict[Any, Part]:
        if not self._tried:
            self._refuse_use_outside(batch.images[:1])
            self._tried = True
        book = _Book(self._layers)
        with book.open():
            scores = self._forward(batch.images)
            loss = patient_loss(scores, batch, self._losses)
            gradients = list(torch.autograd.grad(loss, book.outputs, allow_unused=True))
        book.check_unchanged()
        book.outputs.clear()
        parts: dict[Any, Part] = {}
        while gradients:  # pages are torn out as they are read, since what is held longer costs memory
            layer, x, g = book.layers.pop(), book.inputs.pop(), gradients.pop()
            if g is not None:
                parts.update(parts_of(layer, x, g, batch))
        return parts

    def _forward(self, images: torch.Tensor) -> torch.Tensor:
        try:
            scores: torch.Tensor = self._network(images)
        except RuntimeError as error:
            if "in-place" not in str(error):
                raise
            raise PrivacyError(
                f"a layer's output is changed in place; see federation.dp_ready: {error}"
            ) from error
        return scores

    def _refuse_use_outside(self, image: torch.Tensor) -> None:
        """Refuse a parameter that is used when its layer does not run; only inputs of layers are booked.

        Each layer's parameters are held still while it runs. If the scores depend on one all the same, it was
        used elsewhere.
        """
        handles = []
        for layer in self._layers:
            own = [p for p in layer.parameters(recurse=False) if p.requires_grad]
            handles += [
                layer.register_forward_pre_hook(lambda *_, own=own: _learn(own, False)),
                layer.register_forward_hook(lambda *_, own=own: _learn(own, True), always_call=True),
            ]
        try:
            scores = self._network(image)
        finally:
            for handle in handles:
                handle.remove()
            _learn(self._parameters, True)
        if scores.requires_grad:
            gradients = torch.autograd.grad(scores.sum(), self._parameters, allow_unused=True)
            used = {p for p, g in zip(self._parameters, gradients, strict=True) if g is not None}
            names = [name for name, p in self._network.named_parameters() if p in used]
            raise PrivacyError(f"{names} are used outside their layers, where no book is kept of them")


class _Book:
    """What goes through the layers of one forward."""

    def __init__(self, layers: _Layers) -> None:
        self._names = layers
        self._versions: list[tuple[int, int]] = []
        self._seen: set[nn.Module] = set()
        self.layers: list[nn.Module] = []
        self.inputs: list[torch.Tensor] = []
        self.outputs: list[torch.Tensor] = []

    @contextmanager
    def open(self) -> Iterator[None]:
        """Write down what the layers see, their parameters held still meanwhile."""
        own = [p for layer in self._names for p in layer.parameters(recurse=False) if p.requires_grad]
        handles = []
        try:
            _learn(own, False)
            for layer in self._names:
                handles.append(layer.register_forward_hook(self._write))
            yield
        finally:
            for handle in handles:
                handle.remove()
            _learn(own, True)

    def check_unchanged(self) -> None:
        """Refuse what a later operation wrote over: the books then hold something else than the layer saw."""
        for layer, x, y, versions in zip(self.layers, self.inputs, self.outputs, self._versions, strict=True):
            if (x._version, y._version) != versions:
                raise PrivacyError(
                    f"input or output of {self._names[layer]} is changed in place; see federation.dp_ready"
                )

    def _write(self, layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if layer in self._seen:
            raise PrivacyError(f"{self._names[layer]} runs twice in one forward; books are kept of one run")
        if not inputs:
            raise PrivacyError(f"{self._names[layer]} is given its input by name; books are kept by position")
        # Only the first layers' outputs need to be told: nothing before them requires a gradient.
        if not output.requires_grad:
            output.requires_grad_()
        self._seen.add(layer)
        self.layers.append(layer)
        self.inputs.append(inputs[0].detach())
        self.outputs.append(output)
        self._versions.append((inputs[0]._version, output._version))


def _squares(parts: dict[Any, Part]) -> torch.Tensor:
    return torch.stack([part.squares().double() for part in parts.values()]).sum(0)


def _learn(parameters: list[Any], learn: bool) -> None:
    for parameter in parameters:
        parameter.requires_grad_(learn)


def _learning_layers(network: nn.Module) -> _Layers:
    """The layers of ``network`` that have trainable parameters of their own.

    Raises:
        PrivacyError: one of them is no layer that this engine knows, or shares a parameter.
    """
    layers: _Layers = {}
    owned: set[Any] = set()
    for name, layer in network.named_modules():
        own = {p for p in layer.parameters(recurse=False) if p.requires_grad}
        if not own:
            continue
        reason = objection(layer)
        if own & owned:
            reason = "it shares a parameter with another layer"
        if reason is not None:
            raise PrivacyError(f"book-keeping cannot do layer {name or 'network'}: {reason}")
        layers[layer] = name or type(layer).__name__
        owned |= own
    return layers
