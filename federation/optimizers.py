"""The optimiser of a study's steps, whose state outlives the round and the process."""

from collections.abc import Sequence

import torch
from safetensors.torch import load, save
from torch import nn

from federation.errors import DataError
from federation.study import TrainingSpec


def make_optimizer(training: TrainingSpec, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser that the study names, over the trainable ``parameters``."""
    if training.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=training.learning_rate)
    return torch.optim.SGD(parameters, lr=training.learning_rate, momentum=training.momentum)


def pack_state(optimizer: torch.optim.Optimizer) -> bytes:
    """What the optimiser remembers, as safetensors: one tensor ``<parameter>.<name>`` each."""
    state = optimizer.state_dict()["state"]
    return save(
        {
            f"{parameter}.{name}": torch.as_tensor(value)
            for parameter, values in state.items()
            for name, value in values.items()
            if value is not None
        }
    )


def unpack_state(optimizer: torch.optim.Optimizer, packed: bytes) -> None:
    """Make the optimiser remember what ``pack_state`` gave.

    Raises:
        DataError: the bytes are not such a state.
    """
    state: dict[int, dict[str, torch.Tensor]] = {}
    try:
        for key, value in load(packed).items():
            parameter, name = key.split(".", 1)
            state.setdefault(int(parameter), {})[name] = value
    except Exception as error:
        raise DataError(f"the optimiser state of {len(packed)} bytes cannot be read: {error}") from error
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
