"""The study's optimiser at the coordinator, where sites send sums of gradients instead of updates."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from federation.messages import Parameters
from federation.optimizers import make_optimizer, pack_state, unpack_state
from federation.study import TrainingSpec

_STATE = "gradient_step"


class GradientStep:
    """Steps as a single site would make them with all sites' patients.

    Of what was released, so it costs patients nothing.

    Args:
        training: names the optimiser.
        trainable: how many parameters learn.
    """

    def __init__(self, training: TrainingSpec, trainable: int) -> None:
        self._parameters = nn.Parameter(torch.zeros(trainable))
        self._optimizer = make_optimizer(training, [self._parameters])

    @property
    def state(self) -> dict[str, NDArray[Any]]:
        """What the optimiser remembers."""
        return {_STATE: np.frombuffer(pack_state(self._optimizer), dtype=np.uint8)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a ``state``.

        Raises:
            DataError: it cannot be read.
        """
        if _STATE in state:
            unpack_state(self._optimizer, state[_STATE].tobytes())

    def change(self, current: Parameters, gradient: Parameters) -> Parameters:
        """By how much ``current`` changes along ``gradient``, each float32 ``[trainable]``."""
        self._parameters.data = torch.from_numpy(current.copy())
        self._parameters.grad = torch.from_numpy(gradient)
        self._optimizer.step()
        return self._parameters.detach().numpy() - current
