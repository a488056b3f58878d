"""Pictures of nothing: noise with the spectrum of natural images, for public statistics."""

import numpy as np
import torch

_EXPONENTS = (1.0, 1.5, 2.0)


def noise_images(count: int, size: tuple[int, ...], seed: int) -> torch.Tensor:
    """``count`` images float32 ``[count, 1, height, width]`` from 0 to 1, amplitudes 1/f, f^-1.5 or f^-2."""
    draw = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(size[0])[:, None], np.fft.fftfreq(size[1])[None])
    frequency[0, 0] = 1 / max(size)
    images = np.empty((count, 1, *size), dtype=np.float32)
    for number in range(count):
        spectrum = np.fft.fft2(draw.normal(size=size)) * frequency ** -_EXPONENTS[number % len(_EXPONENTS)]
        values = np.fft.ifft2(spectrum).real
        images[number, 0] = (values - values.min()) / (values.max() - values.min())
    return torch.from_numpy(images)
