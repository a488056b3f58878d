"""Convolutions' weight gradients image by image, each by the way that its shape makes cheapest.

The choice is a function of shapes alone, never of a clock, so that one study always rounds alike.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.nn import functional, grad

Way = Literal["gram", "columns", "grouped", "each"]

# Nanoseconds on one core, fitted to oneDNN on a machine with AVX-512; only their proportions matter.
_PER_PRODUCT = 1 / 40  # of a convolution, where it has the channels to fill vectors
_VECTOR = 8
_PER_PRODUCT_OF_MATRICES = 1 / 36
_PER_COPY, _PER_ROW = 0.2, 5.0  # of the unfolded input: a number, and each row that numbers lie together in
_PER_NUMBER, _PER_NUMBER_FAR = 0.3, 2.2  # of an image's gradient: written, squared, summed
_PER_GROUPED, _PER_GROUPED_FAR = 0.3, 4.0  # its reordering in a grouped convolution
_PER_SINGLE = 0.3  # its reordering in a convolution of its own
_PER_CALL, _PER_GRAM = 40_000.0, 80_000.0  # of a convolution for each image; of a batch's Gram matrices
_NEAR = 2**21  # numbers that stay in the cache


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

    def way(self, x: torch.Tensor, g: torch.Tensor, each: int) -> Way:
        """The cheapest way where a patient has ``each`` of these images."""
        x, g = self._in_place(x, g)
        positions, count = math.prod(g.shape[2:]), len(x)
        weights = math.prod(self.shape)
        inputs = self._inputs
        near = count * weights <= _NEAR
        filled = min(self.shape[0], _VECTOR) * min(self.shape[1], _VECTOR) / _VECTOR**2
        products = positions * weights
        numbers = weights * (_PER_NUMBER if near else _PER_NUMBER_FAR)
        alone = products * _PER_PRODUCT / filled + numbers
        cost: dict[Way, float] = {
            "grouped": alone + weights * (_PER_GROUPED if near else _PER_GROUPED_FAR),
            "each": alone + weights * _PER_SINGLE + _PER_CALL,
        }
        if self.groups == 1:
            copied = 0.0 if self._pointwise else inputs * positions
            across = copied * (_PER_COPY + _PER_ROW / g.shape[-1])
            along = copied * (_PER_COPY + _PER_ROW / self.shape[1])
            grams = each * positions**2 * (inputs + self.shape[0]) * _PER_PRODUCT_OF_MATRICES
            cost["columns"] = across + products * _PER_PRODUCT_OF_MATRICES + numbers
            cost["gram"] = along + grams + products * _PER_PRODUCT + _PER_GRAM / count
        return min(cost, key=lambda way: cost[way])

    def per_image(self, x: torch.Tensor, g: torch.Tensor, way: Way) -> torch.Tensor:
        """The weight's gradient from each image, ``[images, *shape]``."""
        count = len(x)
        if way == "each":
            return torch.stack([self.summed(x[i : i + 1], g[i : i + 1]) for i in range(count)])
        if way == "columns":
            inputs, outputs = self._in_place(x, g)
            columns = self._columns(inputs, outputs)
            return torch.bmm(outputs.flatten(2), columns.transpose(1, 2)).view(count, *self.shape)
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

    def rows(self, x: torch.Tensor, g: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What each output position multiplies, ``[images, positions, inputs]``, and g as such rows.

        The inputs come in another order than in the weight. Only for one group of channels.
        """
        x, g = self._in_place(x, g)
        if self._pointwise:
            return x.flatten(2).transpose(1, 2), g.flatten(2).transpose(1, 2)
        # Channels last, so that what is copied lies together where images are small and channels many.
        windows = self._windows(self._padded(x).movedim(1, -1).contiguous().movedim(-1, 1), g)
        over = range(2 + len(self.stride), 2 + 2 * len(self.stride))
        rows = windows.permute(0, *over, *range(2, over[0]), 1)
        return rows.reshape(len(x), -1, self._inputs), g.flatten(2).transpose(1, 2)

    def _columns(self, x: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        """What each output position multiplies, ``[images, inputs, positions]``."""
        if self._pointwise:
            return x.flatten(2)
        return self._windows(self._padded(x).contiguous(), g).reshape(len(x), self._inputs, -1)

    def _padded(self, x: torch.Tensor) -> torch.Tensor:
        return functional.pad(x, [p for pad in reversed(self.padding) for p in (pad, pad)])

    def _windows(self, padded: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        """A view ``[images, channels, *kernel, *positions]`` of padded inputs."""
        images, channels, *steps = padded.stride()
        along_kernel = (step * d for step, d in zip(steps, self.dilation, strict=True))
        along_positions = (step * s for step, s in zip(steps, self.stride, strict=True))
        return padded.as_strided(
            (*padded.shape[:2], *self.shape[2:], *g.shape[2:]),
            (images, channels, *along_kernel, *along_positions),
        )

    @property
    def _inputs(self) -> int:
        return math.prod(self.shape[1:])

    @property
    def _pointwise(self) -> bool:
        return math.prod(self.shape[2:]) == 1 and set(self.stride) == {1} and not any(self.padding)

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
