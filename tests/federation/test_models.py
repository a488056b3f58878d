import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from federation.config import compose_run
from federation.errors import ConfigError, MessageError
from federation.head import head_inputs, head_of
from federation.models import (
    _tell,
    build_network,
    get_parameters,
    layout_of,
    set_parameters,
)
from federation.networks import NETWORKS

MODELS = (
    "small_cnn",
    "densenet121",
    "efficientnet",
    "resnet10",
    "resnet18",
    "torchvision_densenet121",
    "torchvision_resnet18",
    "vit",
)
# What no image reaches, or what stands outside a layer, and so never learns.
FROZEN = {
    "vit": {
        "cls_token",
        "patch_embedding.position_embeddings",
        *(f"blocks.{block}.norm_cross_attn.{kind}" for block in range(6) for kind in ("weight", "bias")),
    }
}
LAST_BLOCKS = {
    "small_cnn": ("net.layer_3.",),
    "densenet121": ("features.denseblock4.", "features.norm5."),
    "efficientnet": ("_blocks.6.", "_conv_head.", "_bn1."),
    "resnet10": ("layer4.",),
    "resnet18": ("layer4.",),
    "torchvision_densenet121": ("features.denseblock4.", "features.norm5."),
    "torchvision_resnet18": ("layer4.",),
    "vit": ("blocks.5.", "norm."),
}
TASK = compose_run(["task.image_size=[32,32]"]).study.task
SPECS = {name: compose_run([f"model={name}"]).study.model for name in MODELS}


def spec_of(model, **changes):
    return SPECS[model].model_copy(update=changes)


def with_arguments(model, **arguments):
    return spec_of(model, arguments=SPECS[model].arguments | arguments)


@pytest.fixture(scope="module")
def images():
    return torch.from_numpy(np.random.default_rng(0).normal(size=(3, 1, 32, 32)).astype(np.float32))


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    return request.param


@pytest.fixture(scope="module")
def network(model):
    return build_network(spec_of(model, trainable="all"), TASK)


def test_every_network_of_the_allow_list_is_tested_here_or_in_a_file_of_its_own():
    elsewhere = {"monai.FullyConnectedNet", "wardround.Scattering"}
    assert {spec.network for spec in SPECS.values()} | elsewhere == set(NETWORKS)


def test_a_table_has_a_network_too():
    run = compose_run(["study=heart_disease"]).study
    network = build_network(run.model, run.task)
    rows = torch.randn(4, 31)
    assert network(rows).shape == (4, 2)
    assert layout_of(network).shapes == (("output.weight", (2, 31)), ("output.bias", (2,)))
    assert torch.equal(head_of(network, run.model)(head_inputs(network, run.model, rows)), network(rows))


class TestNetwork:
    def test_scores_each_class_of_each_image(self, network, images):
        assert network(images).shape == (3, len(TASK.classes))

    def test_treats_the_images_of_a_batch_apart(self, network, images):
        with torch.no_grad():
            together = network(images)
            apart = torch.cat([network(image[None]) for image in images])
        assert torch.allclose(together, apart, atol=1e-3)

    def test_has_no_batch_norm_no_state_and_nothing_in_place(self, network):
        for module in network.modules():
            assert not isinstance(module, nn.modules.batchnorm._BatchNorm)
            assert not getattr(module, "inplace", False)
        assert list(network.buffers()) == []

    def test_has_the_same_weights_whenever_it_is_built(self, model, network):
        assert np.array_equal(get_parameters(build_network(SPECS[model], TASK)), get_parameters(network))
        other = build_network(spec_of(model, seed=1), TASK)
        assert not np.array_equal(get_parameters(other), get_parameters(network))

    def test_is_built_without_touching_torchs_generator(self, model):
        torch.manual_seed(5)
        before = torch.get_rng_state()
        build_network(SPECS[model], TASK)
        assert torch.equal(torch.get_rng_state(), before)

    def test_is_one_flat_array(self, model, network):
        values = np.random.default_rng(0).normal(size=layout_of(network).size).astype(np.float32)
        other = build_network(SPECS[model], TASK)
        set_parameters(other, values)
        assert get_parameters(other).tobytes() == values.tobytes()

    def test_is_its_head_on_what_the_head_sees(self, model, network, images):
        seen = head_inputs(network, SPECS[model], images, images_at_once=len(images))
        with torch.no_grad():
            assert torch.equal(head_of(network, SPECS[model])(seen), network(images))

    def test_sees_no_bit_of_how_many_other_images_there_are(self, model, network, images):
        alone = head_inputs(network, SPECS[model], images[:1], images_at_once=4)
        assert torch.equal(alone, head_inputs(network, SPECS[model], images, images_at_once=4)[:1])

    def test_learns_with_all_its_parameters_but_those_that_cannot(self, model, network, images):
        network(images).square().sum().backward()
        assert all(p.grad is not None for p in network.parameters() if p.requires_grad)
        names = {name for name, _ in network.named_parameters()}
        assert names - layout_of(network).trainable == FROZEN.get(model, set())
        network.zero_grad()


class TestTrainable:
    def test_head_is_the_head_alone(self, model):
        network = build_network(spec_of(model, trainable="head"), TASK)
        mine = {
            name
            for name, _ in network.named_parameters()
            if name.startswith(NETWORKS[SPECS[model].network].head)
        }
        assert layout_of(network).trainable == mine
        assert layout_of(network).mask.sum() == sum(
            p.numel() for p in head_of(network, SPECS[model]).parameters()
        )

    def test_norm_and_head_are_the_norms_and_the_head(self, model):
        network = build_network(spec_of(model, trainable="norm_and_head"), TASK)
        norms = sum(
            p.numel()
            for name, m in network.named_modules()
            if isinstance(m, nn.GroupNorm | nn.LayerNorm) and "cross_attn" not in name
            for p in m.parameters()
        )
        head = sum(p.numel() for p in head_of(network, SPECS[model]).parameters())
        assert norms > 0
        assert layout_of(network).mask.sum() == norms + head

    def test_last_block_is_the_block_before_the_head_and_the_head(self, model):
        network = build_network(spec_of(model, trainable="last_block"), TASK)
        inside = (*LAST_BLOCKS[model], f"{NETWORKS[SPECS[model].network].head}.")
        expected = {name for name, _ in network.named_parameters() if name.startswith(inside)}
        assert layout_of(network).trainable == expected - FROZEN.get(model, set())
        assert len(expected) > len(list(head_of(network, SPECS[model]).parameters()))

    def test_what_learns_changes_no_weight_and_no_order(self, model):
        whole = get_parameters(build_network(spec_of(model, trainable="all"), TASK))
        head = build_network(spec_of(model, trainable="head"), TASK)
        assert np.array_equal(get_parameters(head), whole)
        mask = layout_of(head).mask
        assert np.array_equal(
            whole[mask],
            np.concatenate([p.detach().numpy().ravel() for p in head_of(head, SPECS[model]).parameters()]),
        )


def test_a_network_without_a_block_before_its_head_has_no_last_block():
    run = compose_run(["study=heart_disease", "model.trainable=last_block"]).study
    with pytest.raises(ConfigError, match=r"model\.trainable=last_block.*has no block before its head"):
        build_network(run.model, run.task)
    hidden = run.model.model_copy(update={"arguments": {"hidden_channels": (8, 4)}})
    learning = layout_of(build_network(hidden, run.task)).trainable
    assert {name.split(".")[0] for name in learning} == {"hidden_1", "output"}


def test_images_too_small_for_a_network_are_told():
    task = TASK.model_copy(update={"image_size": (28, 28)})
    with pytest.raises(
        ConfigError, match=r"EfficientNetBN .*cannot take images of task\.image_size=\[28, 28\]"
    ):
        build_network(SPECS["efficientnet"], task)


def test_what_was_changed_is_told_once(caplog):
    spec = spec_of("resnet10", arguments={"widen_factor": 0.25})
    _tell.cache_clear()
    with caplog.at_level(logging.INFO, "wardround.models"):
        for seed in range(3):
            build_network(spec.model_copy(update={"seed": seed}), TASK)
    (record,) = caplog.records
    assert "monai.ResNet10" in record.message
    assert "12 BatchNorm -> GroupNorm" in record.message


def test_networks_built_side_by_side_have_their_seeds_weights():
    specs = [spec_of("small_cnn", seed=seed % 4) for seed in range(32)]
    expected = [get_parameters(build_network(spec, TASK)) for spec in specs[:4]]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda spec: get_parameters(build_network(spec, TASK)), specs))
    assert all(np.array_equal(found[i], expected[i % 4]) for i in range(32))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_torchvisions_network_takes_the_channels_of_the_task(channels):
    task = TASK.model_copy(update={"channels": channels})
    network = build_network(SPECS["torchvision_resnet18"], task)
    assert network(torch.zeros(1, channels, 32, 32)).shape == (1, 2)


@pytest.mark.parametrize("change", [-1, 1])
def test_parameters_of_another_network_are_refused(change):
    network = build_network(SPECS["small_cnn"], TASK)
    before = get_parameters(network)
    with pytest.raises(MessageError, match="same study"):
        set_parameters(network, np.zeros(before.size + change, np.float32))
    assert np.array_equal(get_parameters(network), before)


def test_parameters_are_a_copy():
    network = build_network(SPECS["small_cnn"], TASK)
    get_parameters(network)[:] = np.nan
    values = get_parameters(network)
    assert np.isfinite(values).all()
    set_parameters(network, values)
    values[:] = np.nan
    assert np.isfinite(get_parameters(network)).all()


def test_a_network_outside_the_allow_list_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"did you mean 'monai\.Classifier'"):
        build_network(spec_of("small_cnn", network="monai.Clasifier"), TASK)
    with pytest.raises(ConfigError, match="is not allowed; valid names"):
        build_network(spec_of("small_cnn", network="os.system"), TASK)


@pytest.mark.parametrize(
    "arguments",
    [
        {"chanels": (4,)},
        {"norm": "nope"},
        {"norm": ("group", {"num_groups": 7})},
        {"num_res_units": "x"},
        {"channels": (16, -3, 1, 1)},
        {"kernel_size": 2},
        {"in_shape": (1, 8, 8)},
    ],
)
def test_arguments_that_the_network_does_not_take_are_told(arguments):
    with pytest.raises(ConfigError, match=rf"model\.arguments=.*{next(iter(arguments))}.*monai\.Classifier"):
        build_network(with_arguments("small_cnn", **arguments), TASK)


@pytest.mark.parametrize(
    ("model", "arguments"),
    [
        ("densenet121", {"pretrained": True}),
        ("resnet18", {"pretrained": "/some/weights.pt"}),
        ("resnet18", {"feed_forward": False}),
        ("torchvision_resnet18", {"weights": "IMAGENET1K_V1"}),
        ("torchvision_densenet121", {"weights": "IMAGENET1K_V1"}),
        ("efficientnet", {"pretrained": True}),
        ("vit", {"classification": False}),
        ("vit", {"post_activation": "Tanh"}),
    ],
)
def test_weights_from_elsewhere_and_networks_without_a_head_are_refused(model, arguments):
    with pytest.raises(ConfigError, match=f"may not have .*{next(iter(arguments))}"):
        build_network(with_arguments(model, **arguments), TASK)


def test_a_layer_that_keeps_state_is_refused():
    with pytest.raises(ConfigError, match="running_mean"):
        build_network(with_arguments("small_cnn", norm=("instance", {"track_running_stats": True})), TASK)


@pytest.mark.parametrize(
    "arguments",
    [{"act": ("softmax", {"dim": 0})}, {"dropout": 0.5}],
    ids=["activation over the batch", "dropout"],
)
def test_a_network_that_mixes_patients_or_draws_at_random_is_refused(arguments):
    with pytest.raises(ConfigError, match="no patient's part can be bounded"):
        build_network(with_arguments("small_cnn", **arguments), TASK)


def test_a_network_is_the_same_wherever_it_is_built():
    run = compose_run([])
    with torch.no_grad():
        quiet = build_network(run.study.model, run.study.task)
    usual = build_network(run.study.model, run.study.task)
    assert layout_of(quiet) == layout_of(usual)
