from copy import deepcopy

import pytest
import torch
from monai.networks import nets
from monai.networks.blocks import ResidualSELayer, SEBlock
from monai.networks.nets.ahnet import Bottleneck3x3x1
from monai.networks.nets.resnet import ResNetBlock
from torch import nn
from torchvision.models import densenet121, resnet18
from torchvision.models.resnet import Bottleneck, ResNet

from federation.out_of_place import _FORWARDS, add_out_of_place


def resnet(block, shortcut):
    return nets.ResNet(
        block, [1, 1, 1, 1], [4, 8, 8, 16], 2, n_input_channels=3, num_classes=2, shortcut_type=shortcut
    )


def excited():
    return nets.SEResNet50(spatial_dims=2, in_channels=3, layers=(1, 1, 1, 1), num_classes=2)


def through(*blocks):
    """The blocks behind a convolution to eight channels."""
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), *blocks)


def ahnet_blocks():
    narrowing = nn.Sequential(nn.Conv2d(8, 8, 1, stride=2), nn.BatchNorm2d(8))
    return through(Bottleneck3x3x1(2, 8, 2), Bottleneck3x3x1(2, 8, 2, stride=2, downsample=narrowing))


NETWORKS = {
    "ResNet, basic, A": lambda: resnet("basic", "A"),
    "ResNet, basic, B": lambda: resnet("basic", "B"),
    "ResNet, bottleneck": lambda: resnet("bottleneck", "B"),
    "torchvision ResNet18": lambda: resnet18(num_classes=2),
    "torchvision ResNet, bottleneck": lambda: ResNet(Bottleneck, [1, 1, 1, 1], num_classes=2),
    "torchvision DenseNet121": lambda: densenet121(num_classes=2),
    "AHNet's block": ahnet_blocks,
    "SegResNet": lambda: nets.SegResNet(2, in_channels=3, blocks_down=(1, 1), blocks_up=(1,)),
    "SegResNetDS": lambda: nets.SegResNetDS(2, 8, in_channels=3, blocks_down=(1, 1)),
    "excitation": lambda: through(ResidualSELayer(2, 8), SEBlock(2, 8, 4, 4, 8), SEBlock(2, 8, 4, 4, 6)),
    "SEResNet50": excited,
    "DynUNet": lambda: nets.DynUNet(2, 3, 2, [3] * 3, [1, 2, 2], [2, 2], filters=[4, 4, 8], res_block=True),
}


@pytest.fixture(scope="module", params=list(NETWORKS))
def network(request):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return NETWORKS[request.param]().eval()


def test_the_new_forwards_compute_the_same_numbers(network):
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    changed = deepcopy(network)
    assert add_out_of_place(changed) > 0
    with torch.no_grad():
        assert torch.equal(changed(images), network(images))


def test_a_block_gets_its_forward_once_and_keeps_it_in_a_copy(network):
    changed = deepcopy(network)
    add_out_of_place(changed)
    assert add_out_of_place(changed) == 0
    copied = deepcopy(changed)
    assert add_out_of_place(copied) == 0
    for module in copied.modules():
        assert vars(module).get("forward", module.forward).__self__ is module


def test_every_forward_of_the_table_is_tested_here():
    kinds = {type(module).forward for build in NETWORKS.values() for module in build().modules()}
    assert set(_FORWARDS) <= kinds


def test_a_subclass_that_computes_otherwise_is_left_as_it_is():
    class Other(ResNetBlock):
        def forward(self, x):
            return x

    class Same(ResNetBlock):
        pass

    assert add_out_of_place(Other(4, 4, 2)) == 0
    assert add_out_of_place(Same(4, 4, 2)) == 1
