import numpy as np
import pytest

from federation.config import compose_run
from federation.errors import ConfigError
from server_app.initial_model import initial_model
from server_app.noise_images import noise_images


def test_noise_images_fill_the_range_and_depend_on_the_seed_alone():
    images = noise_images(6, (28, 20), 0)
    assert images.shape == (6, 1, 28, 20)
    assert (images.amin((1, 2, 3)) == 0).all()
    assert (images.amax((1, 2, 3)) == 1).all()
    assert np.array_equal(images, noise_images(6, (28, 20), 0))
    assert np.array_equal(images[:3], noise_images(3, (28, 20), 0))
    assert not np.array_equal(images, noise_images(6, (28, 20), 1))


def test_their_spectrum_falls_the_steeper_the_larger_the_exponent():
    images = noise_images(300, (32, 32), 0).numpy()[:, 0]
    spectra = np.abs(np.fft.fft2(images - images.mean((1, 2), keepdims=True)))
    low, high = spectra[:, 0, 2], spectra[:, 0, 12]
    ratios = [np.median(low[kind::3] / high[kind::3]) for kind in range(3)]
    assert ratios == pytest.approx([6**1.0, 6**1.5, 6**2.0], rel=0.35)


def test_noise_is_no_start_for_a_network_that_learns_its_features(tmp_path, monkeypatch):
    monkeypatch.setenv("WARDROUND_CACHE", str(tmp_path))
    study = compose_run(["study=chest_xray", "model=resnet18", "pretraining.examples=3"]).study
    with pytest.raises(ConfigError, match="choose random or phantom"):
        initial_model(study)


def test_too_few_noise_images_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("WARDROUND_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match=r"pretraining\.examples=20"):
        initial_model(compose_run(["study=chest_xray", "pretraining.examples=20"]).study)
