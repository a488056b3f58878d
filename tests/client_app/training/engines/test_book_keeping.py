"""Book-keeping is right for every layer that it takes, by every way, and refuses the others."""

import numpy as np
import pytest
import torch
from engine_checks import (
    clipped,
    clipped_sum,
    deviation,
    gradients_by_autograd,
    image_losses,
    make_batches,
    middle,
)
from torch import nn

from client_app.training.batches import Batch
from client_app.training.engines.book_keeping import BookKeeping
from client_app.training.engines.convolution import Convolution
from client_app.training.engines.parts import _squares_of_products
from federation.errors import PrivacyError


class Pooled(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.head = nn.LazyLinear(2)

    def forward(self, x):
        return self.head(self.layers(x).flatten(2).mean(2))


class Tokens(nn.Module):
    """Linear and LayerNorm on ``[images, tokens, d]``."""

    def __init__(self, bias=True):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(5, 7, bias=bias), nn.LayerNorm(7, bias=bias), nn.GELU())
        self.wide = nn.LayerNorm([4, 7])
        self.head = nn.Linear(7, 2)

    def forward(self, x):
        return self.head(self.wide(self.inner(x)).mean(1))


# Layers in front of a pooled head, and the shape of an image.
LAYERS = {
    "conv1d": (lambda: [nn.Conv1d(3, 4, 3, stride=2, padding=2, dilation=2)], (3, 11)),
    "conv2d": (lambda: [nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(1, 0), bias=False)], (2, 7, 6)),
    "conv2d in groups": (lambda: [nn.Conv2d(4, 6, 3, groups=2, padding=1)], (4, 6, 5)),
    "depthwise": (lambda: [nn.Conv2d(4, 8, 3, groups=4, padding="same")], (4, 6, 5)),
    "pointwise": (lambda: [nn.Conv2d(5, 4, 1)], (5, 3, 3)),
    "strided pointwise": (lambda: [nn.Conv2d(5, 4, 1, stride=2)], (5, 5, 5)),
    "same": (lambda: [nn.Conv2d(2, 3, 3, padding="same", dilation=2)], (2, 7, 7)),
    "valid": (lambda: [nn.Conv2d(2, 3, 3, padding="valid")], (2, 7, 7)),
    "conv3d": (lambda: [nn.Conv3d(2, 4, 3, stride=2, padding=1)], (2, 5, 6, 4)),
    "two convolutions": (lambda: [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3, stride=2)], (1, 9, 9)),
    "transposed 2d": (
        lambda: [nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1)],
        (3, 4, 5),
    ),
    "transposed in groups": (lambda: [nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2)], (4, 3, 3)),
    "transposed 3d": (lambda: [nn.ConvTranspose3d(3, 2, 3, stride=2, dilation=2, bias=False)], (3, 3, 2, 3)),
    "group norm": (lambda: [nn.GroupNorm(2, 4, eps=1e-3)], (4, 5, 5)),
    "instance norm": (lambda: [nn.InstanceNorm2d(4, affine=True), nn.Sigmoid()], (4, 5, 5)),
    "instance norm 3d": (lambda: [nn.InstanceNorm3d(2, affine=True), nn.Sigmoid()], (2, 3, 4, 3)),
    "prelu": (lambda: [nn.PReLU()], (3, 4, 4)),
    "prelu of channels": (lambda: [nn.PReLU(3)], (3, 4, 4)),
}


def build(network, shape):
    torch.manual_seed(1)
    network(torch.randn(2, *shape))
    network = network.double()
    for p in network.parameters():
        nn.init.normal_(p, std=0.7)
    return network


def check(network, batches):
    gradients = gradients_by_autograd(network, batches)
    norm = middle(gradients)
    found = clipped_sum(BookKeeping(network, norm, image_losses), batches)
    assert deviation(found, clipped(gradients, norm)) < 1e-10


@pytest.mark.parametrize("images_of", [[1, 1, 1], [2, 1, 4]], ids=["one image each", "several"])
@pytest.mark.parametrize("name", LAYERS)
def test_each_layer_agrees_with_autograd(name, images_of):
    layers, shape = LAYERS[name]
    check(build(Pooled(*layers()), shape), make_batches(shape, images_of))


# Unfolded inputs are those of one group, so grouped convolutions have two ways only.
WAYS = [
    (name, way)
    for name in LAYERS
    if "conv" in name or "transposed" in name
    for way in (["grouped", "each"] if "groups" in name else ["gram", "columns", "grouped", "each"])
]


@pytest.mark.parametrize(("name", "way"), WAYS)
def test_each_way_of_a_convolution_agrees_with_autograd(name, way, monkeypatch):
    layers, shape = LAYERS[name]
    monkeypatch.setattr(Convolution, "way", lambda *_: way)
    check(build(Pooled(*layers()), shape), make_batches(shape, [2, 1, 3, 2]))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("images_of", [[1, 1, 1], [2, 1, 4]], ids=["one image each", "several"])
def test_layers_on_tokens_agree_with_autograd(images_of, bias):
    check(build(Tokens(bias), (4, 5)), make_batches((4, 5), images_of))


def test_deep_layers_go_by_gram_matrices_and_wide_images_do_not():
    convolution = Convolution((512, 512, 3, 3), (1, 1), (1, 1), (1, 1), 1, False)
    assert convolution.way(torch.empty(8, 512, 4, 4), torch.empty(8, 512, 4, 4), 1) == "gram"
    convolution = Convolution((64, 64, 3, 3), (1, 1), (1, 1), (1, 1), 1, False)
    assert convolution.way(torch.empty(8, 64, 32, 32), torch.empty(8, 64, 32, 32), 1) != "gram"


class Sums(nn.Module):
    """The head's input is what a layer sees through ``use``."""

    def __init__(self, use):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)
        self.loose = nn.Linear(3, 3)
        self._use = use

    def forward(self, x):
        return self.head(self._use(self, x))


REFUSED = {
    "twice": (lambda net, x: net.loose(net.first(net.first(x))), "first runs twice"),
    "outside": (lambda net, x: net.first(x) @ net.loose.weight, r"loose\.weight.*outside"),
    "by name": (lambda net, x: net.first(input=x), "by name"),
    "in place": (lambda net, x: net.second(net.first(x)).mul_(2.0), "in place"),
    "first in place": (lambda net, x: net.second(net.first(x).mul_(2.0)), "in place"),
    "input in place": (lambda net, x: net.first(x := x + 1) + x.mul_(2.0), "in place"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_books_cannot_be_kept_of_is_refused(name):
    use, reason = REFUSED[name]
    network = Sums(use).double()
    with pytest.raises(PrivacyError, match=reason):
        clipped_sum(BookKeeping(network, 1.0, image_losses), make_batches((3,), [1, 2]))
    assert all(p.requires_grad and p.grad is None for p in network.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


def test_a_layer_that_does_not_run_gives_zeros():
    network = Sums(lambda net, x: net.second(net.first(x))).double()
    batches = make_batches((3,), [2, 2])
    check(network, batches)
    (batch,) = batches
    sums = BookKeeping(network, 1.0, image_losses).clipped_sum(batch)
    (loose,) = [s for s, p in zip(sums, network.parameters(), strict=True) if p is network.loose.weight]
    assert not loose.any()


class Patched(nn.Linear):
    """Another layer than its parent."""


class WithParameter(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))


def shared():
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    network[1].weight = network[0].weight
    return network


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (nn.BatchNorm2d(2), "BatchNorm2d"),
        (nn.Embedding(3, 2), "Embedding"),
        (Patched(2, 2), "Patched"),
        (WithParameter(), "WithParameter"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)), "Linear"),
        (nn.Conv2d(1, 1, 4, padding="same"), "both sides"),
        (nn.InstanceNorm2d(2, affine=True, track_running_stats=True), "running statistics"),
        (shared(), "shares"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_other_layers_are_refused_with_the_reason(network, reason):
    with pytest.raises(PrivacyError, match=reason):
        BookKeeping(network, 1.0, image_losses)


def test_a_frozen_layer_that_is_not_known_is_none_of_its_business():
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"), nn.Flatten(), nn.Linear(32, 2)
    )
    network[0].requires_grad_(False)
    check(network.double(), make_batches((1, 4, 4), [1, 2]))


def most_added(norm):
    """The most that a patient adds, in ``norm``, whose image is as large as float32 can hold or nearly so."""
    head = nn.Linear(512, 2)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(torch.tensor([0.0, 50.0]))  # the patient's class is certain to be wrong
    engine = BookKeeping(head, norm, image_losses)
    found = []
    for power in np.arange(20, 127.9, 0.3):
        images = torch.full((1, 512), 2.0**power)
        batch = Batch(images, torch.zeros(1, dtype=torch.int64), torch.ones(1, dtype=torch.bool))
        total = torch.cat([part.flatten() for part in engine.clipped_sum(batch)])
        found.append(float(total.double().norm()) / norm)
    return max(found)


@pytest.mark.parametrize("norm", [1.0, 1e-3, 1e-6])
def test_nobody_adds_more_than_the_norm_near_the_end_of_float32(norm):
    assert 1 - 1e-5 < most_added(norm) <= 1 + 1e-5


def test_factors_that_float32_rounds_up_are_caught(monkeypatch):
    """Mutant: any factor scales, however few of its digits float32 holds."""
    monkeypatch.setattr("client_app.training.engines.engine._SMALLEST_FACTOR", 0.0)
    monkeypatch.setattr("client_app.training.engines.parts._LARGEST_ROW", float("inf"))
    assert most_added(1e-6) > 1.5


def float32_grams(x, g):
    """Mutant: Gram matrices as they are, in single precision."""
    grams = torch.bmm(x, x.transpose(1, 2)) * torch.bmm(g, g.transpose(1, 2))
    return grams.flatten(1).sum(1).clamp(min=0.0)


def hidden(squares_of):
    """How many of 50 patients have a longer gradient than ``squares_of`` says, where positions cancel."""
    draw = torch.Generator().manual_seed(0)
    x = 1e5 + torch.randn(50, 16, 12, generator=draw)
    g = torch.randn(50, 16, 12, generator=draw)
    g = g - g.mean(1, keepdim=True)
    true = torch.bmm(g.transpose(1, 2), x).flatten(1).double().square().sum(1)
    return int((squares_of(x, g).double() < true * (1 - 1e-6)).sum())


def test_where_positions_cancel_rounding_stays_a_small_share_of_the_norm():
    """Its errors depend on who else is in the sum, and may not matter there."""
    x, g = torch.ones(1, 4, 3), torch.tensor([[1.0], [-1.0], [1.0], [-1.0]]).expand(1, 4, 2)
    whole = float((x.norm(dim=2) * g.norm(dim=2)).sum())
    errors = 32 * torch.finfo(torch.float32).eps * whole
    assert float(_squares_of_products(x, g)) == pytest.approx((1000 * errors) ** 2)


def test_no_gradient_hides_in_the_rounding_of_positions_that_cancel():
    assert hidden(_squares_of_products) == 0
    assert hidden(float32_grams) > 0
