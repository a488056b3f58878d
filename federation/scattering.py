"""A network whose features are computed, not learnt: a wavelet scattering front end and a linear head.

Fixed features leave privacy noise only a few hundred numbers to disturb, which is why this beats networks
trained end to end at small ε (Tramèr & Boneh 2021, 2011.11660). The transform is that of Bruna & Mallat 2013
(1203.1513) with Morlet wavelets: J scales, L orientations, orders 0, 1 and 2.
"""

import math

import torch
from torch import nn

_LOG_OFFSET = 0.01
_WHITENING_FLOOR = 0.05
# Long against the 1 of the head's bias, which should have a small share of a clipped gradient.
_ROW_LENGTH = 10.0


class Scattering2d(nn.Module):
    """Scattering coefficients of grey images.

    It maps ``[n, 1, height, width]`` to ``[n, 1 + JL + L²J(J-1)/2, height / 2^J, width / 2^J]``, sides
    rounded up. Filters are plain tensors, recomputed from the arguments, so the module has no state.

    Args:
        image_size: height and width in pixels.
        scales: J; coefficients are averaged over 2^J pixels.
        orientations: L.
    """

    def __init__(self, image_size: tuple[int, int], scales: int = 2, orientations: int = 8) -> None:
        super().__init__()
        self._step = 2**scales
        self._scales, self._orientations = scales, orientations
        height, width = (math.ceil(side / self._step) * self._step for side in image_size)
        right, below = self._step + width - image_size[1], self._step + height - image_size[0]
        # Reflected borders of 2^J pixels keep what lies at one edge from reaching round to the other.
        self._pad = (self._step, right, self._step, below)
        padded = (height + 2 * self._step, width + 2 * self._step)
        low = _gauss(padded, 0.8 * 2 ** (scales - 1))
        self._low = [_folded(low, scale) * 4**scale for scale in range(scales)]
        self._bands = [
            torch.stack([_morlet(padded, scale, turn, orientations) for turn in range(orientations)])
            for scale in range(scales)
        ]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """See the class."""
        padded = nn.functional.pad(images, self._pad, mode="reflect")[:, 0]
        spectrum = torch.fft.fft2(padded)[:, None]
        kept = [self._smooth(spectrum, 0)]
        for scale, band in enumerate(self._bands):
            first = _modulus(spectrum * band, scale)
            kept.append(self._smooth(first, scale))
            for coarser in range(scale + 1, self._scales):
                waves = _folded_bands(self._bands[coarser], scale)
                second = _modulus(first[:, :, None] * waves, coarser - scale).flatten(1, 2)
                kept.append(self._smooth(second, coarser))
        return torch.cat(kept, 1)

    def _smooth(self, spectra: torch.Tensor, scale: int) -> torch.Tensor:
        """Average over 2^J pixels what is sampled every 2^``scale`` pixels, and leave the borders out."""
        averaged = _folded(spectra * self._low[scale], self._scales - scale)
        inside: torch.Tensor = torch.fft.ifft2(averaged).real[:, :, 1:-1, 1:-1]
        return inside


def _modulus(spectra: torch.Tensor, scale: int) -> torch.Tensor:
    """The spectrum of the modulus of a band, which needs only every 2^``scale``-th sample."""
    modulus: torch.Tensor = torch.fft.fft2(torch.fft.ifft2(_folded(spectra, scale)).abs())
    return modulus


def _folded(spectra: torch.Tensor, scale: int) -> torch.Tensor:
    """The spectra ``[..., height, width]`` of every 2^``scale``-th sample."""
    step = 2**scale
    height, width = spectra.shape[-2] // step, spectra.shape[-1] // step
    blocks = spectra.reshape(*spectra.shape[:-2], step, height, step, width)
    folded: torch.Tensor = blocks.mean((-4, -2))
    return folded


def _folded_bands(bands: torch.Tensor, scale: int) -> torch.Tensor:
    """Filters for signals of which every 2^``scale``-th sample was taken."""
    return _folded(bands, scale) * float(4**scale)


def _spectrum(filter_2d: torch.Tensor) -> torch.Tensor:
    """The spectrum of a filter that is symmetric about its place, so that it is real."""
    spectrum: torch.Tensor = torch.fft.fft2(filter_2d)
    return spectrum.real.float()


def _gauss(size: tuple[int, int], deviation: float) -> torch.Tensor:
    """The spectrum of a periodic Gaussian window that sums to one."""
    window = _gabor(size, deviation, 0.0, 0.0, 1.0).real
    return _spectrum(window / window.sum())


def _morlet(size: tuple[int, int], scale: int, turn: int, orientations: int) -> torch.Tensor:
    """The spectrum of a Morlet wavelet: a wave in a Gaussian window, less what would answer to a constant."""
    deviation, frequency = 0.8 * 2**scale, 3 * math.pi / 4 / 2**scale
    angle = (int(orientations - orientations / 2 - 1) - turn) * math.pi / orientations
    wave = _gabor(size, deviation, frequency, angle, 4 / orientations)
    window = _gabor(size, deviation, 0.0, angle, 4 / orientations)
    return _spectrum(wave - window * (wave.sum() / window.sum()))


def _gabor(
    size: tuple[int, int], deviation: float, frequency: float, angle: float, slant: float
) -> torch.Tensor:
    """A complex wave in an elongated Gaussian window on a torus of ``size``, ``[height, width]``."""
    cosine, sine = math.cos(angle), math.sin(angle)
    rotation = torch.tensor([[cosine, -sine], [sine, cosine]], dtype=torch.float64)
    shape = torch.diag(torch.tensor([1.0, slant**2], dtype=torch.float64))
    curvature = rotation @ shape @ rotation.T / (2 * deviation**2)
    total = torch.zeros(size, dtype=torch.complex128)
    for down in range(-2, 3):
        for right in range(-2, 3):
            y, x = torch.meshgrid(
                torch.arange(size[0], dtype=torch.float64) + down * size[0],
                torch.arange(size[1], dtype=torch.float64) + right * size[1],
                indexing="ij",
            )
            bend = curvature[0, 0] * y**2 + 2 * curvature[0, 1] * y * x + curvature[1, 1] * x**2
            phase = frequency * (cosine * y + sine * x)
            total += torch.exp(torch.complex(-bend, phase))
    return total / (2 * math.pi * deviation**2 / slant)


class ScatteringClassifier(nn.Module):
    """Scattering, standardised and whitened by public statistics, to rows of one length; then a linear head.

    The statistics are parameters that never learn, so that they travel with the model. Without ``fit`` they
    change nothing.

    Args:
        image_size: height and width in pixels.
        classes: how many scores.
        scales: J of the transform.
        orientations: L of the transform.
        components: how many whitened directions the head sees.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        classes: int,
        scales: int = 2,
        orientations: int = 8,
        components: int = 512,
    ) -> None:
        super().__init__()
        self.scattering = Scattering2d(image_size, scales, orientations)
        coefficients = self.scattering(torch.zeros(1, 1, *image_size)).numel()
        if not 1 <= components <= coefficients:
            raise ValueError(
                f"components={components} must lie between 1 and {coefficients}, the coefficients"
            )
        self.mean = nn.Parameter(torch.zeros(coefficients), requires_grad=False)
        self.whitening = nn.Parameter(torch.eye(coefficients, components), requires_grad=False)
        self.head = nn.Linear(components, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Scores ``[n, classes]`` of images ``[n, 1, height, width]`` with values from 0 to 1."""
        centred = self._logarithms(images) - self.mean
        scores: torch.Tensor = self.head(_ROW_LENGTH * nn.functional.normalize(centred @ self.whitening))
        return scores

    def fit(self, images: torch.Tensor) -> None:
        """Take the statistics from public images ``[n, 1, height, width]``.

        Directions are scaled by 1 / (s + .05 s₀), s their deviation and s₀ the largest, so that those that
        public images hardly use are not blown up.

        Raises:
            ValueError: there are fewer images than components.
        """
        components = self.whitening.shape[1]
        if len(images) < components:
            raise ValueError(f"{len(images)} public images cannot give {components} components; use more")
        with torch.no_grad():
            values = torch.cat([self._logarithms(batch) for batch in torch.split(images, 128)]).double()
            mean, deviation = values.mean(0), values.std(0).clamp(min=1e-6)
            # The correlation matrix has the same directions as the standardised values, and is smaller.
            standard = (values - mean) / deviation
            spread, directions = torch.linalg.eigh(standard.T @ standard / len(values))
            scale = spread.clamp(min=0).sqrt().flip(0)[:components]
            kept = directions.flip(1)[:, :components] / (scale + _WHITENING_FLOOR * scale[0])
            self.mean.copy_(mean)
            self.whitening.copy_(kept / deviation[:, None])

    def _logarithms(self, images: torch.Tensor) -> torch.Tensor:
        coefficients: torch.Tensor = self.scattering(images).flatten(1).clamp(min=0)
        return (coefficients + _LOG_OFFSET).log()
