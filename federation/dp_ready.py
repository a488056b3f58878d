"""Make a network one whose gradients exist patient by patient.

Batch normalisation mixes the patients of a batch, and in-place operations break the hooks that read
per-patient gradients, so both are replaced. The same network is used without privacy too: a comparison then
compares privacy, not architecture.
"""

import math
from types import MethodType
from typing import Any

import torch
from monai.networks.nets import resnet as monai_resnet
from torch import nn
from torchvision.models import resnet as torchvision_resnet

from federation.errors import ConfigError

_LARGEST_GROUPS = 32


def make_dp_ready(network: nn.Module) -> list[str]:
    """Change ``network`` in place; returns what was changed, for people.

    Raises:
        ConfigError: a layer keeps state between batches that is no parameter.
    """
    changes = [_replace_batch_norm(network), _stop_in_place(network), _patch_residuals(network)]
    buffers = [name for name, _ in network.named_buffers()]
    if buffers:
        raise ConfigError(
            f"the network keeps state that is no parameter: {buffers}; choose one that does not"
        )
    return [change for change in changes if change]


def check_images_apart(network: nn.Module, shape: tuple[int, ...]) -> None:
    """Refuse a network whose scores of an image depend on the other images of the batch, or on chance.

    Clipping bounds what a patient adds only if nobody else's gradient goes through that patient's images. The
    check runs three random images of ``shape`` together and apart.

    Raises:
        ConfigError: the scores differ.
    """
    images = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        together = network(images)
        apart = torch.cat([network(image[None]) for image in images])
    scale = 1.0 + float(together.abs().max())
    if not torch.allclose(together, apart, atol=1e-3 * scale, rtol=0):
        raise ConfigError(
            "the network mixes the images of a batch, or draws at random (dropout), so no patient's part can "
            "be bounded; mend model.arguments"
        )


def _replace_batch_norm(network: nn.Module) -> str:
    count = 0
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.modules.batchnorm._BatchNorm):
                channels = child.num_features
                setattr(module, name, nn.GroupNorm(math.gcd(channels, _LARGEST_GROUPS), channels))
                count += 1
    return f"{count} BatchNorm -> GroupNorm" if count else ""


def _stop_in_place(network: nn.Module) -> str:
    count = 0
    module: Any
    for module in network.modules():
        if getattr(module, "inplace", False):
            module.inplace = False
            count += 1
    return f"{count} in-place activations -> out of place" if count else ""


def _patch_residuals(network: nn.Module) -> str:
    """Give residual blocks that say ``out += identity`` a forward that adds out of place."""
    count = 0
    for module in network.modules():
        if isinstance(module, (monai_resnet.ResNetBlock, torchvision_resnet.BasicBlock)):
            module.forward = MethodType(_residual_forward, module)
            count += 1
    return f"{count} residual additions -> out of place" if count else ""


def _residual_forward(block: Any, x: torch.Tensor) -> torch.Tensor:
    """Both libraries' two-convolution block: ``[n, channels, ...] -> [n, channels', ...]``."""
    activation = block.act if isinstance(block, monai_resnet.ResNetBlock) else block.relu
    out = activation(block.bn1(block.conv1(x)))
    out = block.bn2(block.conv2(out))
    identity = x if block.downsample is None else block.downsample(x)
    result: torch.Tensor = activation(out + identity)
    return result
