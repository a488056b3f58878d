"""All engines come to autograd's clipped sum, and leave nothing behind."""

from dataclasses import replace

import pytest
import torch
from engine_checks import (
    clipped,
    clipped_sum,
    deviation,
    flat,
    gradients_by_autograd,
    image_losses,
    make_batches,
    middle,
    traces,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.networks import nets
from torch import nn

from client_app.training.batches import Batch
from client_app.training.engines import ENGINES
from client_app.training.engines import engine as shared
from client_app.training.gradients import PatientGradients
from federation.dp_ready import make_dp_ready
from federation.errors import PrivacyError

SMALL = {"channels": (4, 8), "strides": (2,), "num_res_units": 1}
# What to build, and the shape of an image.
NETWORKS = {
    "classifier": (
        lambda: nets.Classifier((1, 12, 12), 2, (4, 6), (2, 2), norm=("group", {"num_groups": 2})),
        (1, 12, 12),
    ),
    "resnet18, narrow": (
        lambda: nets.ResNet(
            "basic", [2, 2, 2, 2], [8, 8, 16, 16], spatial_dims=2, n_input_channels=1, num_classes=2
        ),
        (1, 24, 24),
    ),
    "densenet": (
        lambda: nets.DenseNet(2, 1, 2, init_features=8, growth_rate=4, block_config=(2, 2)),
        (1, 32, 32),
    ),
    "unet_2d": (lambda: nets.UNet(2, 1, 2, **SMALL), (1, 16, 16)),
    "unet_3d": (lambda: nets.UNet(3, 1, 2, **SMALL), (1, 8, 8, 8)),
    "basic_unet": (lambda: nets.BasicUNet(2, 1, 2, features=(4, 4, 8, 8, 8, 4)), (1, 32, 32)),
    "fully_connected": (lambda: nets.FullyConnectedNet(9, 2, [8, 5]), (9,)),
    "scattering_head": (lambda: nn.Linear(64, 2), (64,)),
}


def build(name):
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    network = make()
    make_dp_ready(network, shape)
    return network.double(), shape


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", NETWORKS)
def test_engines_agree_with_autograd_patient_by_patient(name, engine):
    network, shape = build(name)
    before = traces(network)
    batches = make_batches(shape, [1, 3, 2, 4, 1])
    gradients = gradients_by_autograd(network, batches)
    norm = middle(gradients)
    found = clipped_sum(ENGINES[engine](network, norm, image_losses), batches)
    assert deviation(found, clipped(gradients, norm)) < 1e-9
    assert traces(network) == before


@pytest.mark.parametrize("engine", ENGINES)
def test_single_precision_agrees_to_five_digits(engine):
    network, shape = build("classifier")
    batches = make_batches(shape, [1, 2, 3])
    expected = clipped(gradients_by_autograd(network, batches), 0.1)
    single = [replace(batch, images=batch.images.float()) for batch in batches]
    found = clipped_sum(ENGINES[engine](network.float(), 0.1, image_losses), single)
    assert deviation(found.double(), expected) < 1e-5


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("learns", ["norms", "head"])
def test_only_what_learns_counts(learns, engine):
    network, shape = build("classifier")
    for module in network.modules():
        for p in module.parameters(recurse=False):
            p.requires_grad_(isinstance(module, nn.GroupNorm if learns == "norms" else nn.Linear))
    batches = make_batches(shape, [2, 1, 1])
    gradients = gradients_by_autograd(network, batches)
    norm = middle(gradients)
    found = clipped_sum(ENGINES[engine](network, norm, image_losses), batches)
    assert deviation(found, clipped(gradients, norm)) < 1e-9
    assert any(not p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("engine", ENGINES)
def test_nobody_gives_zeros(engine):
    network, _ = build("classifier")
    found = PatientGradients(network, 1.0, engine=engine).total([])
    assert [t.shape for t in found] == [p.shape for p in network.parameters()]
    assert not flat(found).any()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("each", [1, 2])
def test_what_fills_a_batch_adds_nothing(each, engine):
    network, shape = build("classifier")
    (batch,) = make_batches(shape, [each] * 5)
    people = [
        Batch(images, targets, torch.ones(1, dtype=torch.bool))
        for images, targets in zip(batch.images.split(each), batch.targets.split(each), strict=True)
    ]
    made = ENGINES[engine](network, 0.1, image_losses)
    filled = flat(made.clipped_sum(replace(batch, counted=torch.arange(5) < 3)))
    assert deviation(filled, clipped_sum(made, people[:3])) < 1e-12
    assert not flat(made.clipped_sum(replace(batch, counted=torch.zeros(5, dtype=torch.bool)))).any()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("each", [1, 2])
def test_norms_are_those_of_autograd(each, engine):
    network, shape = build("classifier")
    (batch,) = make_batches(shape, [each] * 3)
    expected = torch.stack([g.square().sum() for g in gradients_by_autograd(network, [batch])])
    found = ENGINES[engine](network, 0.1, image_losses).squared_norms(batch)
    assert torch.allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("each", [1, 2])
def test_a_patient_that_is_not_finite_counts_as_zero(each, engine):
    """Otherwise a model made to overflow on one patient would tell, past all noise, of that patient."""
    network, shape = build("classifier")
    (batch,) = make_batches(shape, [each] * 3)
    alone = replace(batch, counted=torch.tensor([True, False, False]))
    for wild in (float("nan"), float("inf"), 1e300):
        images = batch.images.clone()
        images[each:] = wild
        made = ENGINES[engine](network, 1.0, image_losses)
        together = flat(made.clipped_sum(replace(batch, images=images)))
        apart = flat(made.clipped_sum(alone))
        # Numbers that large may still have a gradient, and then it is clipped.
        assert float((together - apart).norm()) <= (0.0 if wild != 1e300 else 2.0) + 1e-9


class BreakOffError(Exception):
    """Whatever can come between two lines."""


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("where", ["forward", "loss", "backward"])
def test_a_batch_that_breaks_off_leaves_no_trace(where, engine):
    network, shape = build("classifier")
    (batch,) = make_batches(shape, [2, 2])
    expected = flat(ENGINES[engine](network, 0.1, image_losses).clipped_sum(batch))
    breaks = True

    def losses(scores, targets):
        if breaks and where == "loss":
            raise BreakOffError
        if breaks and where == "backward":
            scores = Breaks.apply(scores)
        return image_losses(scores, targets)

    made = ENGINES[engine](network, 0.1, losses)
    before = traces(network)
    real = network.final.forward
    if where == "forward":
        handle = network.final.register_forward_pre_hook(interrupt)
    with pytest.raises(BreakOffError):
        made.clipped_sum(batch)
    if where == "forward":
        handle.remove()
    assert traces(network) == before
    breaks = False
    assert torch.equal(flat(made.clipped_sum(batch)), expected)
    assert network.final.forward == real


def interrupt(*_):
    raise BreakOffError


class Breaks(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(scores):
        return scores.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, gradient):
        raise BreakOffError


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=15, deadline=None)
@given(
    images=st.integers(1, 30),
    scale=st.sampled_from([0.0, 1e-3, 1.0, 50.0, 1e4]),
    seed=st.integers(0, 1000),
    norm=st.sampled_from([1e-3, 0.5, 30.0]),
)
def test_one_patient_moves_the_sum_by_the_norm_at_most(engine, images, scale, seed, norm):
    network, shape = build("classifier")
    assert moved(ENGINES[engine](network, norm, image_losses), shape, images, scale, seed) <= norm * 1.0001


def moved(engine, shape, images, scale=1.0, seed=0):
    """How far the sum moves when a patient with so many images joins two others."""
    (batch,) = make_batches(shape, [images] * 3, seed)
    after = replace(batch, images=batch.images * scale)
    before = replace(after, counted=torch.tensor([True, True, False]))
    return float((flat(engine.clipped_sum(after)) - flat(engine.clipped_sum(before))).norm())


class ClipsEachImage:
    """Mutant: treats every image as if it were a patient."""

    def __init__(self, engine):
        self._engine = engine

    def clipped_sum(self, batch):
        counted = batch.counted.repeat_interleave(batch.each)
        return self._engine.clipped_sum(replace(batch, counted=counted))


@pytest.mark.parametrize("engine", ENGINES)
def test_clipping_each_image_is_caught(engine):
    network, shape = build("classifier")
    norm = 1e-3
    mutant = ClipsEachImage(ENGINES[engine](network, norm, image_losses))
    assert moved(mutant, shape, images=30) > 2 * norm


@pytest.mark.parametrize("engine", ["hooks", "ghost", "book_keeping"])
@pytest.mark.parametrize("mode", ["circular", "reflect"])
def test_padding_with_anything_but_zeros_is_refused(mode, engine):
    network = nn.Conv2d(1, 2, 3, padding=1, padding_mode=mode)
    with pytest.raises(PrivacyError, match="padding_mode"):
        ENGINES[engine](network, 1.0, image_losses)


class UsesHalf(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.loose = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, x):
        return self.used(x)


@pytest.mark.parametrize("engine", ["hooks", "ghost"])
def test_a_parameter_that_opacus_has_no_gradient_of_is_refused(engine):
    network = UsesHalf().double()
    with pytest.raises(PrivacyError, match=r"loose\.weight"):
        clipped_sum(ENGINES[engine](network, 1.0, image_losses), make_batches((3,), [1, 2]))


def test_a_network_that_vmap_cannot_run_is_refused():
    class Looks(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(3, 2)

        def forward(self, x):
            return self.head(x if x.sum() > 0 else -x)

    with pytest.raises(PrivacyError, match="vectorise"):
        clipped_sum(ENGINES["functional"](Looks().double(), 1.0, image_losses), make_batches((3,), [1]))


def test_long_gradients_do_not_look_shorter_than_they_are():
    """Clipped to C, their sum has norm C, although float32 has to add up millions of squares."""
    gradient = torch.full((1, 5_000_000), 1e-2)
    (total,) = shared.clipped_sum([gradient], 1.0, make_batches((1,), [1])[0])
    assert abs(float(total.double().norm()) - 1) < 1e-5
