"""An image comes out of the bare update, and does not out of the protected one."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from client_app.audit import inversion as module
from client_app.audit.inversion import generated_image, invert_gradient, psnr
from federation.promise import noise_multiplier

SECRET = bytes(range(32))


@pytest.fixture(scope="module")
def study(make_study):
    return make_study(task={"image_size": [24, 24]}, privacy={"epsilon": 8.0})


@pytest.fixture(scope="module")
def picture():
    return module._noise_picture((1, 24, 24))


@pytest.fixture(scope="module")
def scaled(picture):
    return ((picture - picture.min()) / np.ptp(picture)).astype(np.float32)


def test_the_bare_update_gives_the_image_away_and_the_protected_one_does_not(study, scaled):
    found, png = invert_gradient(study, scaled, SECRET)
    assert found.noise_multiplier == noise_multiplier(study)
    assert found.bare_psnr > found.constant_psnr + 15
    assert found.protected_psnr < found.constant_psnr, "less than a grey area that knows nothing"
    assert Image.open(io.BytesIO(png)).size[0] == 900


def test_of_distributed_noise_the_attack_meets_what_stands_before_the_coordinator(study, scaled, make_study):
    """Of which a hospital adds only a share, and no hospital in league with the coordinator counts."""
    distributed = make_study(
        task={"image_size": [24, 24]},
        privacy={"epsilon": 8.0, "mode": "distributed"},
        training={"steps": 1},
        rounds=study.total_steps,
        participants=["alder", "birch", "cedar", "dogwood"],
        aggregation="secure",
        secure_sum={"colluding": 1, "dropouts": 1, "lost_rounds": 3, "weight_cap": 1000},
    )
    found, _ = invert_gradient(distributed, scaled, SECRET)
    assert found.noise_multiplier == noise_multiplier(study)
    assert found.protected_psnr < found.constant_psnr


def test_clipping_alone_protects_nothing(study, scaled, monkeypatch):
    """Mutant: the noise is forgotten; the direction of an update has all of the image in it."""
    monkeypatch.setattr(module, "add_noise", lambda totals, *rest: totals)
    found, _ = invert_gradient(study, scaled, SECRET)
    assert found.protected_psnr > found.constant_psnr + 15


def test_without_a_promise_there_is_only_the_bare_update(make_study, no_privacy, scaled):
    study = make_study(task={"image_size": [24, 24]}, privacy=no_privacy)
    found, png = invert_gradient(study, scaled, SECRET)
    assert found.protected_psnr is None
    assert Image.open(io.BytesIO(png)).size[0] == 600


@pytest.mark.parametrize("shape", [(1, 12, 12), (3, 17, 30)])
def test_takes_images_of_any_size_and_colour(shape, make_study):
    study = make_study(task={"channels": shape[0], "image_size": list(shape[1:])})
    found, _ = invert_gradient(study, np.random.default_rng(0).random(shape, dtype=np.float32), SECRET)
    assert found.protected_psnr < found.bare_psnr


class TestGeneratedImage:
    def test_is_one_of_the_tasks_own_examples(self, make_study):
        image = generated_image(make_study())
        assert image.shape == (1, 12, 12)
        assert (image.min(), image.max(), image.dtype) == (0.0, 1.0, np.float32)

    def test_is_noise_where_the_task_generates_nothing(self, make_study, monkeypatch):
        study = make_study(task={"package": "tasks.chest_xray", "image_size": [28, 28]})
        image = generated_image(study)
        assert image.shape == (1, 28, 28)
        steps = np.abs(np.diff(image[0])).mean()
        assert steps < image.std(), "neighbours are alike, as in a photograph"

    def test_there_is_none_of_a_table(self, make_study):
        assert generated_image(make_study(task={"image_size": []})) is None


def test_psnr_by_hand():
    ones = torch.ones(1, 1, 4, 4)
    assert psnr(ones, ones - 0.1) == pytest.approx(20.0, abs=1e-3)
    assert psnr(ones, ones) == 96.0
