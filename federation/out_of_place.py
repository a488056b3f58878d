"""Forwards of MONAI's and torchvision's blocks that write into no tensor that a layer gave.

Per-patient gradients are read by hooks, and torch forbids to change in place what a hooked layer returned.
These blocks say ``out += residual`` in their source, or rectify in place. Each gets a forward here that
computes the same numbers out of place.
"""

from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from monai.networks.blocks import dynunet_block, segresnet_block, squeeze_and_excitation
from monai.networks.nets import ahnet, segresnet_ds
from monai.networks.nets import resnet as monai_resnet
from torch import nn
from torchvision.models import densenet as torchvision_densenet
from torchvision.models import resnet as torchvision_resnet


def add_out_of_place(network: nn.Module) -> int:
    """Give each block that writes in place a forward that does not; returns how many were given one.

    A subclass that computes otherwise than its parent is left as it is.
    """
    count = 0
    for module in network.modules():
        forward = _FORWARDS.get(type(module).forward)
        if forward is not None and "forward" not in vars(module):
            module.forward = MethodType(forward, module)
            count += 1
    return count


# All take and give images ``[n, channels, ...]``, unless said otherwise.


def _basic(block: Any, x: torch.Tensor) -> torch.Tensor:
    """Two convolutions, of either library."""
    activation = _activation(block)
    out = activation(block.bn1(block.conv1(x)))
    out = block.bn2(block.conv2(out))
    result: torch.Tensor = activation(out + _identity(block, x))
    return result


def _bottleneck(block: Any, x: torch.Tensor) -> torch.Tensor:
    """Three convolutions, of either library."""
    activation = _activation(block)
    result: torch.Tensor = activation(_three_convolutions(block, x) + _identity(block, x))
    return result


def _bottleneck_ahnet(block: Any, x: torch.Tensor) -> torch.Tensor:
    out, identity = _three_convolutions(block, x), _identity(block, x)
    if block.downsample is not None and out.shape != identity.shape:
        out = block.pool(out)
    result: torch.Tensor = block.relu(out + identity)
    return result


def _before_activation(block: Any, x: torch.Tensor) -> torch.Tensor:
    """SegResNet: norm and activation stand before each convolution."""
    out = block.conv1(block.act(block.norm1(x)))
    result: torch.Tensor = block.conv2(block.act(block.norm2(out))) + x
    return result


def _before_activation_ds(block: Any, x: torch.Tensor) -> torch.Tensor:
    out = block.conv1(block.act1(block.norm1(x)))
    result: torch.Tensor = block.conv2(block.act2(block.norm2(out))) + x
    return result


def _excitation(layer: Any, x: torch.Tensor) -> torch.Tensor:
    weights = layer.fc(layer.avg_pool(x).flatten(1))
    result: torch.Tensor = x * weights.view(*x.shape[:2], *[1] * (x.ndim - 2))
    return result + x if layer.add_residual else result


def _excited_residual(block: Any, x: torch.Tensor) -> torch.Tensor:
    out = block.se_layer(block.conv3(block.conv2(block.conv1(x))))
    result: torch.Tensor = block.act(out + block.project(x))
    return result


def _dynunet(block: Any, x: torch.Tensor) -> torch.Tensor:
    out = block.lrelu(block.norm1(block.conv1(x)))
    out = block.norm2(block.conv2(out))
    identity = block.norm3(block.conv3(x)) if block.downsample else x
    result: torch.Tensor = block.lrelu(out + identity)
    return result


def _densenet(network: Any, x: torch.Tensor) -> torch.Tensor:
    """The whole of torchvision's DenseNet, to scores ``[n, classes]``."""
    features = nn.functional.relu(network.features(x))
    result: torch.Tensor = network.classifier(nn.functional.adaptive_avg_pool2d(features, 1).flatten(1))
    return result


def _activation(block: Any) -> Any:
    return block.act if hasattr(block, "act") else block.relu


def _identity(block: Any, x: torch.Tensor) -> torch.Tensor:
    identity: torch.Tensor = x if block.downsample is None else block.downsample(x)
    return identity


def _three_convolutions(block: Any, x: torch.Tensor) -> torch.Tensor:
    activation = _activation(block)
    out = activation(block.bn1(block.conv1(x)))
    out = activation(block.bn2(block.conv2(out)))
    result: torch.Tensor = block.bn3(block.conv3(out))
    return result


_FORWARDS: dict[Callable[..., Any], Callable[[Any, torch.Tensor], torch.Tensor]] = {
    monai_resnet.ResNetBlock.forward: _basic,
    monai_resnet.ResNetBottleneck.forward: _bottleneck,
    torchvision_resnet.BasicBlock.forward: _basic,
    torchvision_resnet.Bottleneck.forward: _bottleneck,
    torchvision_densenet.DenseNet.forward: _densenet,
    ahnet.Bottleneck3x3x1.forward: _bottleneck_ahnet,
    segresnet_block.ResBlock.forward: _before_activation,
    segresnet_ds.SegResBlock.forward: _before_activation_ds,
    squeeze_and_excitation.ChannelSELayer.forward: _excitation,
    squeeze_and_excitation.SEBlock.forward: _excited_residual,
    dynunet_block.UnetResBlock.forward: _dynunet,
}
