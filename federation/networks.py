"""Networks a study may name.

Only what stands in this allow-list can be built, so a study never brings code to a hospital.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from monai.networks import nets as monai_nets
from torch import nn
from torchvision.models import densenet121 as torchvision_densenet121
from torchvision.models import resnet18 as torchvision_resnet18

from federation.scattering import ScatteringClassifier
from federation.study import Argument, TaskSpec

# Arguments of the constructors that would fetch weights from elsewhere, or leave out the head or
# squash its scores.
WITHHELD = frozenset(
    {"pretrained", "progress", "weights", "feed_forward", "classification", "post_activation"}
)

Arguments = dict[str, Argument]


@dataclass(frozen=True)
class Entry:
    """One network of the allow-list.

    Attributes:
        build: makes it from the study's arguments and the task.
        head: the module behind the last features; what it gives are the network's scores.
        last_block: the modules just before the head that learn with it where a study says
            ``trainable=last_block``; -1 in a path is a module's last child, -2 the one before it.
        fixed: everything before the head is computed, so only the head can learn.
    """

    build: Callable[[Arguments, TaskSpec], nn.Module]
    head: str
    last_block: tuple[str, ...] = ()
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


def _efficientnet(arguments: Arguments, task: TaskSpec) -> nn.Module:
    network: nn.Module = monai_nets.EfficientNetBN(
        pretrained=False,
        spatial_dims=len(task.image_size),
        in_channels=task.channels,
        num_classes=len(task.classes),
        **arguments,
    )
    return network


def _resnet(constructor: Callable[..., nn.Module]) -> Callable[[Arguments, TaskSpec], nn.Module]:
    def build(arguments: Arguments, task: TaskSpec) -> nn.Module:
        return constructor(
            spatial_dims=len(task.image_size),
            n_input_channels=task.channels,
            num_classes=len(task.classes),
            **arguments,
        )

    return build


class _ViTScores(monai_nets.ViT):  # type: ignore[misc]
    """MONAI's vision transformer, which gives its hidden states too, giving scores ``[n, classes]`` alone."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = super().forward(x)[0]
        return scores


def _vit(arguments: Arguments, task: TaskSpec) -> nn.Module:
    return _ViTScores(
        in_channels=task.channels,
        img_size=task.image_size,
        spatial_dims=len(task.image_size),
        classification=True,
        num_classes=len(task.classes),
        post_activation="none",
        **arguments,
    )


def _torchvision_resnet18(arguments: Arguments, task: TaskSpec) -> nn.Module:
    network: nn.Module = torchvision_resnet18(num_classes=len(task.classes), **arguments)
    first: Any = network.conv1
    if task.channels != first.in_channels:
        network.conv1 = nn.Conv2d(task.channels, first.out_channels, 7, stride=2, padding=3, bias=False)
    return network


def _torchvision_densenet121(arguments: Arguments, task: TaskSpec) -> nn.Module:
    network: nn.Module = torchvision_densenet121(num_classes=len(task.classes), **arguments)
    features: Any = network.features
    if task.channels != features.conv0.in_channels:
        features.conv0 = nn.Conv2d(
            task.channels, features.conv0.out_channels, 7, stride=2, padding=3, bias=False
        )
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
    "monai.Classifier": Entry(_classifier, head="final", last_block=("net.-1",)),
    "monai.DenseNet121": Entry(
        _densenet121, head="class_layers.out", last_block=("features.denseblock4", "features.norm5")
    ),
    "monai.EfficientNetBN": Entry(_efficientnet, head="_fc", last_block=("_blocks.-1", "_conv_head", "_bn1")),
    "monai.FullyConnectedNet": Entry(_fully_connected, head="output", last_block=("-2",)),
    "monai.ResNet10": Entry(_resnet(monai_nets.resnet10), head="fc", last_block=("layer4",)),
    "monai.ResNet18": Entry(_resnet(monai_nets.resnet18), head="fc", last_block=("layer4",)),
    "monai.ViT": Entry(_vit, head="classification_head", last_block=("blocks.-1", "norm")),
    "torchvision.DenseNet121": Entry(
        _torchvision_densenet121, head="classifier", last_block=("features.denseblock4", "features.norm5")
    ),
    "torchvision.ResNet18": Entry(_torchvision_resnet18, head="fc", last_block=("layer4",)),
    "wardround.Scattering": Entry(_scattering, head="head", fixed=True),
}
