"""MONAI's and torchvision's networks: made ready for per-patient gradients, or refused with the reason."""

from itertools import product

import pytest
import torch
from monai.networks import nets
from opacus import GradSampleModule
from torch import nn
from torchvision.models import densenet121, resnet18
from torchvision.models.resnet import Bottleneck, ResNet

from federation.dp_ready import check_images_apart, make_dp_ready
from federation.errors import ConfigError
from federation.layer_use import _KINDS

SIDE = 32
SLOW = ("UNETR", "BasicUNet", "ResNet10", "ResNet18", "ResNet50", "DenseNet121")  # on volumes
# Volumes of networks that are slow on larger ones.
SMALL = {"EfficientNet": 16, "SegResNet": 16, "SegResNetDS": 16}
BATCH_NORM = "BatchNorm -> GroupNorm"
IN_PLACE = "in-place activations -> out of place"
WRITES = "blocks that write in place -> out of place"
DROPS = "random drops -> off"
UNUSED = "parameters frozen, which take no part in the scores"
OUTSIDE = "parameters frozen, which stand outside a layer"


def resnet(block, layers, shortcut):
    return lambda dims: nets.ResNet(
        block,
        layers,
        block_inplanes=[4, 8, 8, 16],
        spatial_dims=dims,
        n_input_channels=1,
        num_classes=2,
        shortcut_type=shortcut,
    )


def vit(dims, **arguments):
    sizes = {"patch_size": 8, "hidden_size": 12, "mlp_dim": 16, "num_layers": 2, "num_heads": 3}
    return nets.ViT(1, (SIDE,) * dims, spatial_dims=dims, classification=True, **sizes | arguments)


# Of each class that can be shrunk, a small one with every kind of block; and how many changes of each kind.
MONAI = {
    "DenseNet121": (
        lambda dims: nets.DenseNet121(dims, 1, 2, init_features=8, growth_rate=16),
        {BATCH_NORM: 121, IN_PLACE: 121},
    ),
    "ResNet10": (resnet("basic", [1, 1, 1, 1], "B"), {BATCH_NORM: 12, IN_PLACE: 5, WRITES: 4}),
    "ResNet18": (resnet("basic", [2, 2, 2, 2], "A"), {BATCH_NORM: 17, IN_PLACE: 9, WRITES: 8}),
    "ResNet50": (resnet("bottleneck", [3, 4, 6, 3], "B"), {BATCH_NORM: 53, IN_PLACE: 17, WRITES: 16}),
    "EfficientNet": (
        lambda dims: nets.efficientnet.EfficientNet(
            ["r1_k3_s11_e1_i32_o16_se0.25", "r2_k5_s22_e6_i16_o24_se0.25"], dims, 1, 2, 0.5, image_size=SIDE
        ),
        {BATCH_NORM: 10, IN_PLACE: 3, DROPS: 3},
    ),
    "Classifier": (lambda dims: nets.Classifier((1, *[SIDE] * dims), 2, (4, 8), (2, 2)), {}),
    "UNet": (lambda dims: nets.UNet(dims, 1, 2, (4, 8, 16), (2, 2), num_res_units=2), {}),
    "BasicUNet": (lambda dims: nets.BasicUNet(dims, 1, 2, features=(4, 4, 8, 8, 8, 4)), {IN_PLACE: 18}),
    "SegResNet": (
        lambda dims: nets.SegResNet(dims, blocks_down=(1, 1), blocks_up=(1,)),
        {IN_PLACE: 4, WRITES: 3},
    ),
    "SegResNetDS": (
        lambda dims: nets.SegResNetDS(dims, 8, blocks_down=(1, 1), upsample_mode="nontrainable"),
        {BATCH_NORM: 6, IN_PLACE: 6, WRITES: 3},
    ),
    "ViT": (vit, {UNUSED: 4, OUTSIDE: 2}),
    "UNETR": (
        lambda dims: nets.UNETR(
            1, 2, (SIDE,) * dims, feature_size=4, hidden_size=12, mlp_dim=16, num_heads=3, spatial_dims=dims
        ),
        {IN_PLACE: 8, WRITES: 8, UNUSED: 24, OUTSIDE: 1},
    ),
}
# Those of one kind of image or one size.
OTHERS = {
    "monai.EfficientNetBN-2D": (
        lambda _: nets.EfficientNetBN("efficientnet-b0", False, False, 2, in_channels=1, num_classes=2),
        {BATCH_NORM: 49, IN_PLACE: 16, DROPS: 16},
        (1, SIDE, SIDE),
    ),
    "torchvision.ResNet18": (
        lambda _: resnet18(num_classes=2),
        {BATCH_NORM: 20, IN_PLACE: 9, WRITES: 8},
        (3, SIDE, SIDE),
    ),
    "torchvision.ResNet-Bottleneck": (
        lambda _: ResNet(Bottleneck, [1, 1, 1, 1], num_classes=2),
        {BATCH_NORM: 17, IN_PLACE: 5, WRITES: 4},
        (3, SIDE, SIDE),
    ),
    "torchvision.DenseNet121": (
        lambda _: densenet121(num_classes=2),
        {BATCH_NORM: 121, IN_PLACE: 120, WRITES: 1},
        (3, SIDE, SIDE),
    ),
}


def side_of(name, dims):
    return SMALL.get(name, SIDE) if dims == 3 else SIDE


CASES = [
    *(
        pytest.param(
            *MONAI[name],
            (1, *[side_of(name, dims)] * dims),
            id=f"monai.{name}-{dims}D",
            marks=[pytest.mark.deployment] * (dims == 3 and name in SLOW),  # for its time
        )
        for name, dims in product(MONAI, (2, 3))
    ),
    *(pytest.param(*case, id=name) for name, case in OTHERS.items()),
]


def made(build, *arguments):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build(*arguments).double()


def flat(output):
    """The numbers of each image ``[n, numbers]`` of a nest of tensors."""
    parts = [output] if isinstance(output, torch.Tensor) else [flat(part) for part in output]
    return torch.cat([part.flatten(1) for part in parts], 1)


def loss_of(network, images):
    """A loss whose gradient differs from number to number."""
    scores = flat(network(images))
    weights = torch.sin(torch.arange(scores.shape[1], dtype=scores.dtype))
    return (scores * weights).sum() + scores.square().sum() / 2


def learning(network):
    return [p for p in network.parameters() if p.requires_grad]


def one_by_one(network, images):
    """For each parameter, ``[images, ...]``."""
    each = [torch.autograd.grad(loss_of(network, image[None]), learning(network)) for image in images]
    return [torch.stack(rows) for rows in zip(*each, strict=True)]


def by_opacus(network, images):
    loss_of(GradSampleModule(network, loss_reduction="sum", strict=True), images).backward()
    return [p.grad_sample for p in learning(network)]


def largest_difference(found, expected):
    """Relative to each parameter's gradient, or where that is nothing beside the rest, to the rest."""
    whole = max(float(e.abs().max()) for e in expected)
    return max(
        float((f - e).abs().max()) / max(float(e.abs().max()), 1e-6 * whole)
        for f, e in zip(found, expected, strict=True)
    )


@pytest.fixture(autouse=True)
def _double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(("build", "changes", "shape"), CASES)
def test_a_network_made_ready_has_the_gradients_of_each_patient(build, changes, shape):
    network = made(build, len(shape) - 1)
    told = make_dp_ready(network, shape)
    assert counts(told) == changes
    assert frozen_by(told) == {name for name, p in network.named_parameters() if not p.requires_grad}
    for module in network.modules():
        assert not isinstance(module, nn.modules.batchnorm._BatchNorm)
        assert not getattr(module, "inplace", False)
    assert make_dp_ready(network, shape) == []
    check_images_apart(network, shape)
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    expected = one_by_one(network, images)
    assert largest_difference(by_opacus(network, images), expected) < 1e-4


def frozen_by(told):
    return {name for line in told if "frozen" in line for name in line.split(": ")[1].split(", ")}


def counts(told):
    """What the list says: how many changes of which kind."""
    kinds = [BATCH_NORM, IN_PLACE, WRITES, DROPS, UNUSED, OUTSIDE]
    return {kind: int(line.split()[0]) for line in told for kind in kinds if kind in line}


LAYERS = {
    "Linear": (nn.Linear(6, 3), (4, 6)),
    "Conv1d": (nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2), (4, 9)),
    "Conv2d": (nn.Conv2d(4, 6, 3, dilation=2), (4, 9, 8)),
    "Conv3d": (nn.Conv3d(4, 6, (1, 2, 3), bias=False), (4, 5, 6, 7)),
    "ConvTranspose1d": (nn.ConvTranspose1d(4, 6, 3, stride=2), (4, 5)),
    "ConvTranspose2d": (nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), (4, 5, 4)),
    "ConvTranspose3d": (nn.ConvTranspose3d(4, 6, 2, stride=2), (4, 3, 4, 2)),
    "GroupNorm": (nn.GroupNorm(2, 4), (4, 5, 6)),
    "LayerNorm": (nn.LayerNorm(6), (4, 6)),
    "InstanceNorm1d": (nn.InstanceNorm1d(4, affine=True), (4, 6)),
    "InstanceNorm2d": (nn.InstanceNorm2d(4, affine=True), (4, 5, 6)),
    "InstanceNorm3d": (nn.InstanceNorm3d(4, affine=True), (4, 3, 5, 6)),
    "PReLU": (nn.PReLU(4), (4, 5)),
}


def test_every_kind_of_layer_that_may_learn_is_tested():
    assert {type(layer) for layer, _ in LAYERS.values()} == set(_KINDS)


@pytest.mark.parametrize("kind", LAYERS)
def test_a_kind_of_layer_that_may_learn_has_the_gradients_of_each_patient(kind):
    layer, shape = LAYERS[kind]
    network = nn.Sequential(layer).double()
    assert make_dp_ready(network, shape) == []
    images = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    expected = one_by_one(network, images)
    assert largest_difference(by_opacus(network, images), expected) < 1e-9


def test_making_a_network_ready_tells_what_was_changed():
    network = nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6, eps=1e-3), nn.ReLU(inplace=True))
    assert make_dp_ready(network, (1, 8, 8)) == [
        "1 BatchNorm -> GroupNorm",
        "1 in-place activations -> out of place",
    ]
    assert (network[1].num_groups, network[1].eps) == (2, 1e-3)
    assert make_dp_ready(network, (1, 8, 8)) == []


def ready(network, shape=(1, SIDE, SIDE)):
    return make_dp_ready(network.double(), shape)


def test_a_network_that_folds_windows_into_the_batch_is_refused():
    network = nets.SwinUNETR(
        1, 2, feature_size=12, depths=(1, 1, 1, 1), num_heads=(1, 2, 3, 4), spatial_dims=2
    )
    with pytest.raises(
        ConfigError, match=r"attn\.qkv is a Linear, which gets \d+ rows for 2 images.*windows"
    ):
        ready(network, (1, 64, 32))


class Positions(nn.Sequential):
    """Parts of an image in the place of images, and the other way round: ``[height, n, width]``."""

    def forward(self, x):
        return super().forward(x[:, 0].transpose(0, 1)).transpose(0, 1)


def test_a_layer_that_has_the_images_in_its_second_dimension_is_refused():
    for height in (1, 2, 3):
        with pytest.raises(ConfigError, match=r"0 is a Linear, which gets \d rows for 2 images"):
            ready(Positions(nn.Linear(8, 2)), (1, height, 8))


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x):
        return self.layer(self.layer(x)).flatten(1)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(x)).flatten(1)


class TwoNames(nn.Module):
    """One layer that is used once, but stands in two places, as DynUNet's do."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 2, 3))
        self.second = nn.Sequential(self.first[0])

    def forward(self, x):
        return self.first(x)


class InPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x):
        out = self.layer(x)
        out += x
        return out.flatten(1)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.LSTM(SIDE, 2, batch_first=True)

    def forward(self, x):
        return self.layer(x[:, 0])[0]


class Noisy(nn.Conv2d):
    """A layer that computes otherwise than its parent."""


DYNUNET = {"kernel_size": [3] * 3, "strides": [1, 2, 2], "upsample_kernel_size": [2, 2], "filters": [4, 4, 8]}


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (Twice(), "layer is a Conv2d, which is used 2 times for an image"),
        (Tied(), r"first\.weight and second\.weight are one parameter"),
        (nets.DynUNet(2, 1, 2, **DYNUNET, res_block=True), "are one parameter"),
        (nets.SegResNet(2, act="prelu"), "are one parameter"),
        (TwoNames(), r"first\.0\.weight and second\.0\.weight are one parameter"),
        (InPlace(), "changes in place what a layer gave"),
        (Recurrent(), "layer is a LSTM, for which no rule of per-patient gradients is known"),
        (nn.Sequential(Noisy(1, 2, 3)), "0 is a Noisy, for which no rule"),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.InstanceNorm2d(2, track_running_stats=True)), "running_mean"),
        (nn.Flatten(), "has no trainable parameter"),
        (nn.Conv2d(1, 2, 3).requires_grad_(False), "has no trainable parameter"),
        (nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular")), "padding_mode='circular'"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_what_has_no_gradients_of_each_patient_is_refused_with_the_reason(network, reason):
    with pytest.raises(ConfigError, match=reason):
        ready(network, (1, SIDE, 8) if isinstance(network, Tied) else (1, SIDE, SIDE))


class TestMutants:
    """Why there are refusals: what would happen without them."""

    def images(self):
        return torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))

    @pytest.mark.parametrize("mode", ["circular", "reflect", "replicate"])
    def test_circular_padding_would_give_wrong_gradients(self, mode):
        network = made(nn.Conv2d, 1, 2, 3, 1, 1, 1, 1, True, mode)
        difference = largest_difference(by_opacus(network, self.images()), one_by_one(network, self.images()))
        assert difference > 0.01

    def test_a_module_of_two_names_would_count_twice(self):
        network = made(TwoNames)
        expected = one_by_one(network, self.images())
        found = by_opacus(network, self.images())
        assert largest_difference(found, expected) > 0.5

    def test_batch_norm_left_in_place_is_caught(self):
        network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
        with pytest.raises(ConfigError, match="no patient's part can be bounded"):
            check_images_apart(network, (1, 8, 8))
        make_dp_ready(network, (1, 8, 8))
        check_images_apart(network, (1, 8, 8))
