import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve

from federation.config import compose_run
from federation.errors import ConfigError
from federation.models import build_network, layout_of
from federation.scattering import Scattering2d, ScatteringClassifier, _gabor, _morlet

STUDY = compose_run(["study=chest_xray"]).study


@pytest.fixture(scope="module")
def images():
    return torch.from_numpy(np.random.default_rng(0).random((5, 1, 28, 28), dtype=np.float32))


@pytest.fixture(scope="module")
def transform():
    return Scattering2d((28, 28))


class TestTransform:
    def test_has_a_coefficient_for_every_path_of_scales_and_turns(self, transform, images):
        assert transform(images).shape == (5, 1 + 2 * 8 + 8 * 8, 7, 7)

    def test_rounds_odd_sides_up(self):
        assert Scattering2d((30, 25), orientations=4)(torch.zeros(2, 1, 30, 25)).shape == (2, 25, 8, 7)

    def test_of_a_constant_is_the_constant_and_nothing_else(self, transform):
        coefficients = transform(torch.full((1, 1, 28, 28), 0.7))
        assert torch.allclose(coefficients[:, 0], torch.tensor(0.7), atol=1e-5)
        assert coefficients[:, 1:].abs().max() < 1e-4

    def test_grows_with_the_contrast(self, transform, images):
        assert torch.allclose(transform(3 * images), 3 * transform(images), atol=1e-4)

    def test_treats_images_apart(self, transform, images):
        apart = torch.cat([transform(image[None]) for image in images])
        assert torch.allclose(transform(images), apart, atol=1e-6)

    def test_hardly_notices_a_shift_that_moves_every_pixel(self, transform):
        blob = torch.zeros(1, 1, 28, 28)
        blob[0, 0, 10:16, 9:15] = 1
        moved = transform(blob.roll(1, dims=3)) - transform(blob)
        assert moved.norm() < 0.25 * (blob.roll(1, dims=3) - blob).norm()

    def test_first_order_is_what_convolution_in_space_gives(self, images):
        """The modulus of a wavelet's answer, averaged by the Gaussian window, far from the borders."""
        size = (72, 72)
        image = torch.zeros(size)
        image[22:50, 22:50] = images[0, 0]
        wave = torch.fft.ifft2(_morlet(size, 0, 3, 8)).numpy()
        window = _gabor(size, 1.6, 0.0, 0.0, 1.0).real.numpy()
        centred = [np.fft.fftshift(array) for array in (wave, window / window.sum())]
        answer = np.abs(fftconvolve(image.numpy(), centred[0], mode="same"))
        averaged = fftconvolve(answer, centred[1], mode="same")
        found = Scattering2d(size)(image[None, None])[0, 1 + 3].numpy()
        # Both place the centre of an even filter at its half, one sample further in one of the two.
        expected = averaged[::4, ::4]
        inner = slice(3, -3)
        assert (
            min(
                np.abs(found - np.roll(averaged, shift, (0, 1))[::4, ::4])[inner, inner].max()
                for shift in ((0, 0), (1, 1), (-1, -1), (2, 2), (-2, -2))
            )
            < 0.02 * expected.max()
        )


class TestClassifier:
    @pytest.fixture
    def network(self):
        network = build_network(STUDY.model.model_copy(update={"arguments": {"components": 16}}), STUDY.task)
        assert isinstance(network, ScatteringClassifier)
        return network

    def test_only_its_head_learns(self, network):
        assert layout_of(network).trainable == {"head.weight", "head.bias"}
        with pytest.raises(ConfigError, match=r"say model\.trainable=head"):
            build_network(STUDY.model.model_copy(update={"trainable": "all"}), STUDY.task)

    def test_public_statistics_whiten_what_the_head_sees(self):
        network = ScatteringClassifier((12, 12), classes=2, components=16)
        random = np.random.default_rng(1)
        public, images = (torch.from_numpy(random.random((n, 1, 12, 12), dtype=np.float32)) for n in (64, 5))
        network.fit(public)
        white = (network._logarithms(public) - network.mean) @ network.whitening
        covariance = np.cov(white.detach().numpy().T)
        assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 1e-2
        assert network(images).isfinite().all()

    def test_statistics_of_too_few_images_are_refused(self, network, images):
        with pytest.raises(ValueError, match="5 public images cannot give 16 components"):
            network.fit(images)

    def test_images_it_cannot_take_are_refused(self):
        with pytest.raises(ConfigError, match="flat grey images"):
            build_network(STUDY.model, STUDY.task.model_copy(update={"channels": 3}))
        with pytest.raises(ConfigError, match="components=9999"):
            build_network(STUDY.model.model_copy(update={"arguments": {"components": 9999}}), STUDY.task)
