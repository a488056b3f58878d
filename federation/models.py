"""Networks a study may name, and their parameters as one flat array.

Only what stands in the allow-list can be built, so a study never brings code to a hospital, and weights are
arrays of numbers, never pickles. Coordinator and hospitals build the same network from the same study; what
travels between them is a flat float32 array in the order of ``layout``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any, cast

import numpy as np
import torch
from monai.networks import nets as monai_nets
from numpy.typing import NDArray
from torch import nn
from torchvision.models import resnet18 as torchvision_resnet18

from federation.dp_ready import check_images_apart, make_dp_ready
from federation.errors import ConfigError, MessageError
from federation.scattering import ScatteringClassifier
from federation.schema import nearest
from federation.study import Argument, ModelSpec, TaskSpec

# Arguments of the constructors that would fetch weights from elsewhere, or leave out the head.
_WITHHELD = frozenset({"pretrained", "progress", "weights", "feed_forward"})

# Torch has one generator for all threads; networks that are built side by side would share its draws.
_generator = Lock()

Parameters = NDArray[np.float32]
Arguments = dict[str, Argument]


@dataclass(frozen=True)
class Entry:
    """One network of the allow-list.

    Attributes:
        build: makes it from the study's arguments and the task.
        head: the module behind the last features; what it gives are the network's scores.
        fixed: everything before the head is computed, so only the head can learn.
    """

    build: Callable[[Arguments, TaskSpec], nn.Module]
    head: str
    fixed: bool = False


def _classifier(arguments: Arguments, task: TaskSpec) -> nn.Module:
    shape = (task.channels, *task.image_size)
    network: nn.Module = monai_nets.Classifier(in_shape=shape, classes=len(task.classes), **arguments)
    return network


def _densenet121(arguments: Arguments, task: TaskSpec) -> nn.Module:
    network: nn.Module = monai_nets.DenseNet121(
        spatial_dims=len(task.image_size),
        in_channels=task.channels,
        out_channels=len(task.classes),
        **arguments,
    )
    return network


def _resnet18(arguments: Arguments, task: TaskSpec) -> nn.Module:
    network: nn.Module = monai_nets.resnet18(
        spatial_dims=len(task.image_size),
        n_input_channels=task.channels,
        num_classes=len(task.classes),
        **arguments,
    )
    return network


def _torchvision_resnet18(arguments: Arguments, task: TaskSpec) -> nn.Module:
    network: nn.Module = torchvision_resnet18(num_classes=len(task.classes), **arguments)
    first: Any = network.conv1
    if task.channels != first.in_channels:
        network.conv1 = nn.Conv2d(task.channels, first.out_channels, 7, stride=2, padding=3, bias=False)
    return network


def _scattering(arguments: Arguments, task: TaskSpec) -> nn.Module:
    return ScatteringClassifier(_flat_size(task), len(task.classes), **cast("dict[str, int]", arguments))


def _fully_connected(arguments: Arguments, task: TaskSpec) -> nn.Module:
    network: nn.Module = monai_nets.FullyConnectedNet(
        in_channels=math.prod((task.channels, *task.image_size)), out_channels=len(task.classes), **arguments
    )
    return network


def _flat_size(task: TaskSpec) -> tuple[int, int]:
    if len(task.image_size) != 2 or task.channels != 1:
        raise ValueError(f"it takes flat grey images, not {task.channels} x {list(task.image_size)}")
    return task.image_size[0], task.image_size[1]


NETWORKS: dict[str, Entry] = {
    "monai.Classifier": Entry(_classifier, head="final"),
    "monai.DenseNet121": Entry(_densenet121, head="class_layers.out"),
    "monai.ResNet18": Entry(_resnet18, head="fc"),
    "monai.FullyConnectedNet": Entry(_fully_connected, head="output"),
    "torchvision.ResNet18": Entry(_torchvision_resnet18, head="fc"),
    "wardround.Scattering": Entry(_scattering, head="head", fixed=True),
}


def build_network(model: ModelSpec, task: TaskSpec) -> nn.Module:
    """The network of a study with its seeded random weights, ready for per-patient gradients.

    It maps images ``[n, channels, height, width]`` to scores ``[n, classes]``. Parameters that the study does
    not train have ``requires_grad`` False.

    Raises:
        ConfigError: the network is not on the allow-list, or does not take these arguments.
    """
    if model.network not in NETWORKS:
        raise ConfigError(
            f"model.network={model.network!r} is not allowed; {nearest(model.network, NETWORKS)}"
        )
    entry = NETWORKS[model.network]
    if entry.fixed and model.trainable != "head":
        raise ConfigError(
            f"model.trainable={model.trainable}: {model.network} computes its features, so only its head "
            "learns; say model.trainable=head"
        )
    withheld = sorted(_WITHHELD & set(model.arguments))
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
    make_dp_ready(network)
    try:
        check_images_apart(network, (task.channels, *task.image_size))
    except (ValueError, RuntimeError) as error:
        raise ConfigError(
            f"{model.network} with model.arguments={model.arguments} cannot take images of "
            f"task.image_size={list(task.image_size)}: {error}"
        ) from error
    _freeze(network, model, entry.head)
    return network


def _freeze(network: nn.Module, model: ModelSpec, head: str) -> None:
    """Stop what ``model.trainable`` leaves out from learning."""
    norms = {
        f"{name}.{parameter}"
        for name, module in network.named_modules()
        if isinstance(module, nn.GroupNorm)
        for parameter, _ in module.named_parameters(recurse=False)
    }
    for name, parameter in network.named_parameters():
        in_norms = model.trainable == "norm_and_head" and name in norms
        parameter.requires_grad_(model.trainable == "all" or name.startswith(f"{head}.") or in_norms)


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
