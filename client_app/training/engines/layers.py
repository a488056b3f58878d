"""The gradients of each kind of layer's parameters, from its input and the gradient of its output."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from client_app.training.batches import Batch
from client_app.training.engines.convolution import Convolution
from client_app.training.engines.parts import Numbers, Part, Product

# A parameter of the layer and its part of the gradient; of those that do not learn, None may stand.
Parts = Iterator[tuple[Any, Part]]


def parts_of(layer: nn.Module, x: torch.Tensor, g: torch.Tensor, batch: Batch) -> Parts:
    """Each trainable parameter of ``layer`` with what the batch's patients give to it.

    Args:
        layer: one that ``objection`` has nothing against.
        x: its input, ``[images, ...]``.
        g: the gradient of its output, ``[images, ...]``.
        batch: whose images they are.
    """
    return _PARTS[type(layer)](layer, x, g, batch)


def objection(layer: nn.Module) -> str | None:
    """Why the parameters of this layer itself cannot be kept books of; None if they can."""
    if type(layer) not in _PARTS:
        return f"{type(layer).__name__} is no layer whose gradients are known"
    own = {name for name, p in layer.named_parameters(recurse=False) if p.requires_grad}
    if own - {"weight", "bias"} or "forward" in vars(layer):
        return f"this {type(layer).__name__} is not torch's own: {sorted(own)}"
    if getattr(layer, "padding_mode", "zeros") != "zeros":
        return f"padding_mode={layer.padding_mode!r} of {type(layer).__name__} is not known"
    if getattr(layer, "track_running_stats", False):
        return f"{type(layer).__name__} keeps running statistics"
    if isinstance(getattr(layer, "padding", 0), str) and _same_padding(layer) is None:
        return f"padding={layer.padding!r} of {type(layer).__name__} is not the same on both sides"
    return None


def _linear(layer: nn.Linear, x: torch.Tensor, g: torch.Tensor, batch: Batch) -> Parts:
    """On ``[images, ..., inputs]``."""
    if layer.bias is not None and layer.bias.requires_grad:
        yield layer.bias, Numbers(_tokens(g).sum(1), batch)
    if not layer.weight.requires_grad:
        return
    positions = math.prod(x.shape[1:-1])
    outputs, inputs = layer.weight.shape
    if batch.each * positions * (inputs + outputs) <= 2 * inputs * outputs:
        yield layer.weight, Product(x, g, _token_rows, _token_gradient, batch)
    else:
        per_image = torch.bmm(_tokens(g).transpose(1, 2), _tokens(x))
        yield layer.weight, Numbers(per_image, batch)


def _tokens(values: torch.Tensor) -> torch.Tensor:
    """``[images, ..., d]`` to ``[images, tokens, d]``."""
    return values.reshape(len(values), -1, values.shape[-1])


def _token_rows(x: torch.Tensor, g: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return _tokens(x), _tokens(g)


def _token_gradient(x: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    return _tokens(g).flatten(0, 1).T @ _tokens(x).flatten(0, 1)


def _convolution(layer: Any, x: torch.Tensor, g: torch.Tensor, batch: Batch) -> Parts:
    if layer.bias is not None and layer.bias.requires_grad:
        yield layer.bias, Numbers(g.flatten(2).sum(2), batch)
    if not layer.weight.requires_grad:
        return
    convolution = Convolution(
        shape=tuple(layer.weight.shape),
        stride=layer.stride,
        padding=(_same_padding(layer) or ()) if isinstance(layer.padding, str) else layer.padding,
        dilation=layer.dilation,
        groups=layer.groups,
        transposed=layer.transposed,
    )
    way = convolution.way(x, g, batch.each)
    if way == "gram":
        yield layer.weight, Product(x, g, convolution.rows, convolution.summed, batch)
    else:
        yield layer.weight, Numbers(convolution.per_image(x, g, way), batch)


def _same_padding(layer: Any) -> tuple[int, ...] | None:
    """The zeros on each side that ``padding="same"`` or ``"valid"`` stands for; None if sides differ."""
    if layer.padding == "valid":
        return (0,) * len(layer.kernel_size)
    around = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    return None if any(total % 2 for total in around) else tuple(total // 2 for total in around)


def _group_norm(layer: nn.GroupNorm, x: torch.Tensor, g: torch.Tensor, batch: Batch) -> Parts:
    return _of_channels(layer, functional.group_norm(x, layer.num_groups, eps=layer.eps), g, batch)


def _instance_norm(layer: Any, x: torch.Tensor, g: torch.Tensor, batch: Batch) -> Parts:
    return _of_channels(layer, functional.group_norm(x, x.shape[1], eps=layer.eps), g, batch)


def _of_channels(layer: Any, normed: torch.Tensor, g: torch.Tensor, batch: Batch) -> Parts:
    if layer.weight.requires_grad:
        yield layer.weight, Numbers((g * normed).flatten(2).sum(2), batch)
    if layer.bias.requires_grad:
        yield layer.bias, Numbers(g.flatten(2).sum(2), batch)


def _layer_norm(layer: nn.LayerNorm, x: torch.Tensor, g: torch.Tensor, batch: Batch) -> Parts:
    normed = functional.layer_norm(x, layer.normalized_shape, eps=layer.eps)
    shape = (len(x), -1, *layer.normalized_shape)
    if layer.weight.requires_grad:
        yield layer.weight, Numbers((g * normed).reshape(shape).sum(1), batch)
    if layer.bias is not None and layer.bias.requires_grad:
        yield layer.bias, Numbers(g.reshape(shape).sum(1), batch)


def _prelu(layer: nn.PReLU, x: torch.Tensor, g: torch.Tensor, batch: Batch) -> Parts:
    if layer.weight.requires_grad:
        below = g * x.clamp(max=0.0)
        per_channel = below.reshape(len(x), layer.num_parameters, -1)
        yield layer.weight, Numbers(per_channel.sum(2), batch)


_PARTS: dict[type[nn.Module], Callable[[Any, torch.Tensor, torch.Tensor, Batch], Parts]] = {
    nn.Linear: _linear,
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d), _convolution),
    nn.GroupNorm: _group_norm,
    **dict.fromkeys((nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), _instance_norm),
    nn.LayerNorm: _layer_norm,
    nn.PReLU: _prelu,
}
