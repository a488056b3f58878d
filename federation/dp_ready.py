"""Make a network one whose gradients exist patient by patient.

Batch normalisation mixes the patients of a batch, and in-place operations break the hooks that read
per-patient gradients, so both are replaced. The same network is used without privacy too: a comparison then
compares privacy, not architecture.
"""

import math
from typing import Any

import torch
from monai.networks.nets.efficientnet import EfficientNet, MBConvBlock
from torch import nn

from federation.errors import ConfigError
from federation.layer_use import freeze_unreadable, tensors_in
from federation.out_of_place import add_out_of_place

_LARGEST_GROUPS = 32


def make_dp_ready(network: nn.Module, shape: tuple[int, ...]) -> list[str]:
    """Change ``network`` in place; returns what was changed, for people.

    Clipping bounds what a patient adds to a sum only if that patient's gradient is known apart from all
    others. Together with ``check_images_apart`` this sees to it: unit = patient, adjacency = add or remove
    one patient. Assumption: the network treats other images of this ``shape`` as it treats random ones.

    Args:
        network: images ``[n, *shape]`` to scores, or to any nest of tensors.
        shape: of one image.

    Raises:
        ConfigError: a layer keeps state between batches that is no parameter, a layer that learns has no
            per-patient gradients, or nothing learns; see ``federation.layer_use``.
        ValueError, RuntimeError: the network does not take such images.
    """
    changes = [
        _told(_replace_batch_norm(network), "BatchNorm -> GroupNorm"),
        _told(_stop_in_place(network), "in-place activations -> out of place"),
        _told(add_out_of_place(network), "blocks that write in place -> out of place"),
        _told(_stop_random_drops(network), "random drops -> off"),
        *freeze_unreadable(network, shape),
    ]
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
        together = _numbers(network(images))
        apart = torch.cat([_numbers(network(image[None])) for image in images])
    scale = 1.0 + float(together.abs().max())
    if not torch.allclose(together, apart, atol=1e-3 * scale, rtol=0):
        raise ConfigError(
            "the network mixes the images of a batch, or draws at random (dropout), so no patient's part can "
            "be bounded; mend model.arguments"
        )


def _numbers(output: Any) -> torch.Tensor:
    """All that the network gives of each image, ``[n, numbers]``."""
    return torch.cat([part.flatten(1) for part in tensors_in(output)], 1)


def _told(count: int, what: str) -> str:
    return f"{count} {what}" if count else ""


def _replace_batch_norm(network: nn.Module) -> int:
    count = 0
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.modules.batchnorm._BatchNorm):
                channels = child.num_features
                groups = math.gcd(channels, _LARGEST_GROUPS)
                setattr(module, name, nn.GroupNorm(groups, channels, eps=child.eps, affine=child.affine))
                count += 1
    return count


def _stop_in_place(network: nn.Module) -> int:
    count = 0
    module: Any
    for module in network.modules():
        if getattr(module, "inplace", False):
            module.inplace = False
            count += 1
    return count


def _stop_random_drops(network: nn.Module) -> int:
    """Those of EfficientNet, whose constructor gives no way to do without."""
    count = 0
    module: Any
    for module in network.modules():
        if isinstance(module, MBConvBlock) and module.drop_connect_rate:
            module.drop_connect_rate = 0.0
            count += 1
        if isinstance(module, EfficientNet) and module._dropout.p:
            module._dropout.p = 0.0
            count += 1
    return count
