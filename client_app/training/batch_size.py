"""How many images go through a network at once.

Batches are filled up (``training.batches``). Of E expected images, batches of s cost about
``(E / s + 1/2) * (calls + s * work)``, half a batch being filling; the least is at
``s = sqrt(2 * E * calls / work)``. The choice follows from what is public, never from who is there, and from
counts of multiplications, never from a clock, so that one study always rounds alike.
"""

import math
from collections.abc import Callable

import torch
from torch import nn

# Multiplications and additions of one image's forward that cost as much as a batch's calls do. In networks
# with more of them, calls cost about one image too: there they move more weights.
_CALLS = 2.0**25


def batch_size(
    network: nn.Module, views: torch.Tensor, *, expected: float, sampling_rate: float, most: int
) -> int:
    """Images in a batch, each of them in all its views.

    Args:
        network: what they go through.
        views: those of one image, ``[views, ...]``.
        expected: how many images a step has on average.
        sampling_rate: q, with which each of them is in a step.
        most: how many there may be.
    """
    calls = max(1.0, _CALLS / max(1, _operations(network, views)))
    # Two standard deviations above the average, so that one batch of all is seldom too small.
    likely = math.ceil(expected + 2 * math.sqrt(expected * (1 - sampling_rate)))
    size = max(1, min(math.ceil(math.sqrt(2 * expected * calls)), likely, most))
    return size if size == likely else math.ceil(expected / math.ceil(expected / size))


def _operations(network: nn.Module, images: torch.Tensor) -> int:
    """Multiplications and additions in the forward's layers that have a matrix of weights."""
    counts: list[int] = []

    def counting(weight: torch.Tensor) -> Callable[[nn.Module, object, torch.Tensor], None]:
        return lambda _layer, _inputs, output: counts.append(2 * output.numel() * weight[0].numel())

    weights = [(layer, getattr(layer, "weight", None)) for layer in network.modules()]
    handles = [
        layer.register_forward_hook(counting(weight))
        for layer, weight in weights
        if isinstance(weight, torch.Tensor) and weight.dim() > 1
    ]
    try:
        with torch.no_grad():
            network(images)
    finally:
        for handle in handles:
            handle.remove()
    return sum(counts)
