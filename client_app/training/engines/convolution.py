"""Convolutions' weight gradients image by image, each by the way that its shape makes cheapest.

The choice is a function of shapes alone, never of a clock, so that one study always rounds alike.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.nn import functional, grad

Way = Literal["gram", "columns", "grouped", "each"]

# Nanoseconds on one core, fitted to oneDNN on an AVX-512 machine; only their proportions matter.
_PER_PRODUCT = 1 / 40  # of one convolution's multiplications
_PER_PRODUCT_FEW_CHANNELS = 1 / 12  # the same, where grouped convolutions cannot fill a vector
_PER_PRODUCT_BATCHED = 1 / 28  # of batched matrix products
_PER_COPY = 1.0  # a number of the unfolded input
_PER_NUMBER = 1.5  # of a patient's gradient: written, squared, summed
_PER_GROUPED_WEIGHT, _PER_GROUPED_WEIGHT_OUT_OF_CACHE = 1.0, 4.0
_PER_CALL = 25_000.0
_CACHE = 2**18


@dataclass(frozen=True)
class Convolution:
    """A convolution of 1 to 3 dimensions, or a transposed one, as far as its weight's gradient is concerned.

    That of a transposed convolution is a convolution's with input and output in each other's place.

    Attributes:
        shape: of its weight.
        stride: in each dimension, as are padding and dilation.
        groups: how many parts its channels fall into.
        transposed: whether it is a transposed one.
    """

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    transposed: bool

    def way(self, x: torch.Tensor, g: torch.Tensor, images: int) -> Way:
        """The cheapest way for patients with up to so many ``images``."""
        x, g = self._in_place(x, g)
        positions = math.prod(g.shape[2:])
        outputs, weights = self.shape[0], math.prod(self.shape)
        inputs = weights // outputs
        products = positions * weights
        few = self.shape[1] < 8
        cached = weights <= _CACHE
        numbers = weights * _PER_NUMBER
        copies = 0.0 if self._pointwise else inputs * positions * _PER_COPY
        cost: dict[Way, float] = {
            "grouped": products * (_PER_PRODUCT_FEW_CHANNELS if few else _PER_PRODUCT)
            + weights * (_PER_GROUPED_WEIGHT if cached else _PER_GROUPED_WEIGHT_OUT_OF_CACHE)
            + numbers,
            "each": products * _PER_PRODUCT + _PER_CALL + numbers,
        }
        if self.groups == 1:
            cost["columns"] = copies + products * _PER_PRODUCT_BATCHED + numbers
            grams = images * positions**2 * (inputs + outputs)
            cost["gram"] = copies + grams * _PER_PRODUCT_BATCHED + products * _PER_PRODUCT
        return min(cost, key=lambda way: cost[way])

    def per_image(self, x: torch.Tensor, g: torch.Tensor, way: Way) -> torch.Tensor:
        """The weight's gradient from each image, ``[images, *shape]``."""
        count = len(x)
        if way == "each":
            return torch.stack([self.summed(x[i : i + 1], g[i : i + 1]) for i in range(count)])
        if way == "columns":
            inputs, outputs = self.columns(x, g)
            return torch.bmm(outputs, inputs.transpose(1, 2)).view(count, *self.shape)
        # Images as groups of one convolution: no image then meets another's channels.
        x, g = self._in_place(x, g)
        together = self._gradient(
            x.reshape(1, -1, *x.shape[2:]),
            g.reshape(1, -1, *g.shape[2:]),
            (count * self.shape[0], *self.shape[1:]),
            count * self.groups,
        )
        return together.view(count, *self.shape)

    def summed(self, x: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        """The weight's gradient, summed over images as plain training has it."""
        return self._gradient(*self._in_place(x, g), self.shape, self.groups)

    def columns(self, x: torch.Tensor, g: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What each output position multiplies, ``[images, inputs, positions]``, and g ``[images, outputs, positions]``.

        Only for one group of channels.
        """
        x, g = self._in_place(x, g)
        if self._pointwise:
            return x.flatten(2), g.flatten(2)
        around = [p for pad in reversed(self.padding) for p in (pad, pad)]
        padded = functional.pad(x, around) if any(around) else x.contiguous()
        images, channels, *steps = padded.stride()
        windows = padded.as_strided(
            (*x.shape[:2], *self.shape[2:], *g.shape[2:]),
            (
                images,
                channels,
                *(step * d for step, d in zip(steps, self.dilation, strict=True)),
                *(step * s for step, s in zip(steps, self.stride, strict=True)),
            ),
        )
        return windows.reshape(len(x), self.shape[1] * math.prod(self.shape[2:]), -1), g.flatten(2)

    @property
    def _pointwise(self) -> bool:
        return (
            math.prod(self.shape[2:]) == 1
            and set(self.stride) == {1}
            and not any(self.padding)
        )

    def _in_place(self, x: torch.Tensor, g: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return (g, x) if self.transposed else (x, g)

    def _gradient(
        self, x: torch.Tensor, g: torch.Tensor, shape: tuple[int, ...], groups: int
    ) -> torch.Tensor:
        of_dimension: dict[int, Any] = {3: grad.conv1d_weight, 4: grad.conv2d_weight, 5: grad.conv3d_weight}
        gradient: torch.Tensor = of_dimension[x.dim()](
            x, shape, g, self.stride, self.padding, self.dilation, groups
        )
        return gradient
