"""The network of a study, and its parameters as one flat array.

Weights are arrays of numbers, never pickles. Coordinator and hospitals build the same network from the same
study; what travels between them is a flat float32 array in the order of ``layout``.
"""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from federation.dp_ready import check_images_apart, make_dp_ready
from federation.errors import ConfigError, MessageError
from federation.networks import NETWORKS, WITHHELD, Entry
from federation.schema import nearest
from federation.study import ModelSpec, TaskSpec

log = logging.getLogger("wardround.models")

# Torch has one generator for all threads; networks that are built side by side would share its draws.
_generator = Lock()

Parameters = NDArray[np.float32]

# What trainable=norm_and_head calls a norm.
_NORMS = (nn.GroupNorm, nn.LayerNorm, nn.modules.instancenorm._InstanceNorm)


def build_network(model: ModelSpec, task: TaskSpec) -> nn.Module:
    """The network of a study with its seeded random weights, ready for per-patient gradients.

    It maps images ``[n, channels, height, width]`` to scores ``[n, classes]``. Parameters that the study does
    not train have ``requires_grad`` False.

    Raises:
        ConfigError: the network is not on the allow-list, or does not take these arguments.
    """
    if model.network not in NETWORKS:
        tested = ", ".join(sorted(NETWORKS))
        raise ConfigError(
            f"model.network={model.network!r} is not allowed; {nearest(model.network, NETWORKS)}; the "
            f"gradients of these are tested (federation/networks.py): {tested}"
        )
    entry = NETWORKS[model.network]
    if entry.fixed and model.trainable != "head":
        raise ConfigError(
            f"model.trainable={model.trainable}: {model.network} computes its features, so only its head "
            "learns; say model.trainable=head"
        )
    withheld = sorted(WITHHELD & set(model.arguments))
    if withheld:
        raise ConfigError(
            f"model.arguments of {model.network} may not have {withheld}: weights come from the study alone, "
            "and every network ends in its head"
        )
    with _generator, torch.random.fork_rng(devices=[]):
        torch.manual_seed(model.seed)
        try:
            network = entry.build(model.arguments, task)
        except (TypeError, ValueError, LookupError, RuntimeError) as error:
            raise ConfigError(f"model.arguments={model.arguments} for {model.network}: {error}") from error
    shape = (task.channels, *task.image_size)
    try:
        _tell(model.network, tuple(make_dp_ready(network, shape)))
        check_images_apart(network, shape)
    except (ValueError, RuntimeError) as error:
        raise ConfigError(
            f"{model.network} with model.arguments={model.arguments} cannot take images of "
            f"task.image_size={list(task.image_size)}: {error}"
        ) from error
    _freeze(network, model, entry)
    return network


@cache
def _tell(network: str, changes: tuple[str, ...]) -> None:
    """Once in a process, since every hospital of a simulation builds the network."""
    if changes:
        log.info("%s was changed for per-patient gradients: %s", network, "; ".join(changes))


def _freeze(network: nn.Module, model: ModelSpec, entry: Entry) -> None:
    """Stop what ``model.trainable`` leaves out from learning; what is frozen already stays so."""
    if model.trainable == "all":
        return
    learning = {id(p) for module in _learning(network, model, entry) for p in module.parameters()}
    for parameter in network.parameters():
        parameter.requires_grad_(parameter.requires_grad and id(parameter) in learning)


def _learning(network: nn.Module, model: ModelSpec, entry: Entry) -> Iterator[nn.Module]:
    yield network.get_submodule(entry.head)
    if model.trainable == "norm_and_head":
        yield from (module for module in network.modules() if isinstance(module, _NORMS))
    if model.trainable == "last_block":
        block = [_module_at(network, path) for path in entry.last_block]
        if not any(True for module in block for _ in module.parameters()):
            raise ConfigError(
                f"model.trainable=last_block: {model.network} with model.arguments={model.arguments} has no "
                "block before its head; say head or all"
            )
        yield from block


def _module_at(network: nn.Module, path: str) -> nn.Module:
    """The module at ``path``, in which -1 is the last child, -2 the one before it."""
    module = network
    for part in path.split("."):
        module = list(module.children())[int(part)] if part.startswith("-") else module.get_submodule(part)
    return module


@dataclass(frozen=True)
class Layout:
    """The parameters of a network in the order of the flat array.

    Attributes:
        shapes: name and shape of each parameter.
        trainable: the names of those that learn.
    """

    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    trainable: frozenset[str]

    @property
    def size(self) -> int:
        """How many numbers the whole model has."""
        return sum(math.prod(shape) for _, shape in self.shapes)

    @property
    def trainable_size(self) -> int:
        """How many of them learn, which is the length of an update."""
        return sum(math.prod(shape) for name, shape in self.shapes if name in self.trainable)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Which of the numbers learn, bool ``[all]``."""
        return np.concatenate(
            [np.full(math.prod(shape), name in self.trainable) for name, shape in self.shapes]
        )


def layout_of(network: nn.Module) -> Layout:
    """The layout of ``network``."""
    parameters = list(network.named_parameters())
    return Layout(
        shapes=tuple((name, tuple(p.shape)) for name, p in parameters),
        trainable=frozenset(name for name, p in parameters if p.requires_grad),
    )


def get_parameters(network: nn.Module) -> Parameters:
    """All parameters as one float32 array ``[all]``; a copy."""
    return np.concatenate([p.detach().cpu().numpy().ravel() for p in network.parameters()]).astype(np.float32)


def set_parameters(network: nn.Module, values: Parameters) -> None:
    """Put a flat array ``[all]`` into ``network``.

    Raises:
        MessageError: the array belongs to another network.
    """
    expected = sum(p.numel() for p in network.parameters())
    if values.shape != (expected,):
        raise MessageError(f"{values.shape} parameters for a network of [{expected}]; is it the same study?")
    start = 0
    with torch.no_grad():
        for parameter in network.parameters():
            stop = start + parameter.numel()
            chunk = torch.from_numpy(values[start:stop].copy())
            parameter.copy_(chunk.view_as(parameter))
            start = stop
