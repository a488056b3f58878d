"""Can a patient's image be rebuilt from the update that it caused?

Gradient inversion after Geiping et al. 2020 (2003.14053): look for the image whose gradient points the same
way as the update, with a little total variation against it, by Adam on the signs of the derivative. The
attacker gets more than any real one: the update of one patient with one image, alone and in a single step,
the image's class, the model, and a network that gives much away (smooth, shallow, no pooling). Where updates
travel in sums it is the coordinator, who knows all else that is in the sum and, of distributed noise, what
sites in league with it have added. The image is a generated one, never a patient's.
"""

import io
import math

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import cosine_similarity, cross_entropy

from client_app.audit.records import Inversion
from client_app.training.batches import Batch
from client_app.training.gradients import PatientGradients
from client_app.training.noise import add_noise
from client_app.training.stream import Stream
from federation.errors import DataError
from federation.promise import noise_multiplier, seen
from federation.study import Study
from federation.tasks import load_task

_ITERATIONS = 120
_LEARNING_RATE = 0.1
_SMOOTHNESS = 1e-3
_CHANNELS = 16
_SEED = 0
# A PSNR of more, in dB, is an image without any error that a file of 16 bits could hold.
_PERFECT = 96.0

Picture = NDArray[np.float32]


def invert_gradient(study: Study, image: Picture, secret: bytes) -> tuple[Inversion, bytes]:
    """Rebuild ``image`` from its update, as it is and under the study's protection.

    Args:
        study: whose clipping protects, and the noise of one step that stands before the coordinator; without
            a promise, nothing is protected.
        image: float32 ``[channels, height, width]``, from 0 to 1.
        secret: source of the noise.

    Returns:
        What came of it, and the pictures side by side as a PNG.
    """
    original = torch.from_numpy(image)[None]
    target = torch.ones(1, dtype=torch.int64)
    noise = _noise(study)
    secrets = (None,) if noise is None else (None, secret)
    updates = [_update(study, original, target, each) for each in secrets]
    rebuilt = [_rebuilt(study, original.shape, target, update) for update in updates]
    likeness = [psnr(original, each) for each in rebuilt]
    inversion = Inversion(
        iterations=_ITERATIONS,
        noise_multiplier=noise,
        constant_psnr=psnr(original, original.mean().expand_as(original)),
        bare_psnr=likeness[0],
        protected_psnr=None if noise is None else likeness[1],
    )
    return inversion, _side_by_side(original, *rebuilt)


def generated_image(study: Study) -> Picture | None:
    """A picture of nobody, float32 ``[channels, height, width]`` from 0 to 1; None for a task of tables.

    One of the task's own generated examples where it has them, else noise with the spectrum of photographs.
    """
    task = study.task
    if len(task.image_size) != 2:
        return None
    try:
        image = load_task(task.package, task.options).public_examples(1, _SEED).images[0]
    except DataError:
        image = _noise_picture((task.channels, *task.image_size))
    scaled: Picture = ((image - image.min()) / (float(np.ptp(image)) or 1.0)).astype(np.float32)
    return scaled


def psnr(original: torch.Tensor, other: torch.Tensor) -> float:
    """Peak signal-to-noise ratio in dB of two images from 0 to 1; the larger, the more alike."""
    error = float((original - other).square().mean())
    return min(_PERFECT, -10 * math.log10(error)) if error > 0 else _PERFECT


def _update(study: Study, image: torch.Tensor, target: torch.Tensor, secret: bytes | None) -> torch.Tensor:
    """What one step releases if the image is all there is, float ``[parameters]``; bare without a secret."""
    clipping_norm = None if secret is None else study.privacy.clipping_norm
    gradients = PatientGradients(_network(study, image.shape), clipping_norm)
    batch = Batch(images=image, targets=target, counted=torch.ones(1, dtype=torch.bool))
    totals = gradients.total([batch])
    noise = _noise(study)
    if secret is not None and clipping_norm is not None and noise is not None:
        totals = add_noise(totals, noise, clipping_norm, Stream(secret, study.id, "inversion", "noise"))
    return torch.cat([total.detach().flatten() for total in totals]).float()


def _noise(study: Study) -> float | None:
    """The noise multiplier of what the coordinator sees."""
    noise = noise_multiplier(study)
    return None if noise is None else seen(study, noise).coordinator


def _network(study: Study, shape: torch.Size) -> nn.Module:
    """The same small CNN each time: images ``[n, channels, height, width]`` to scores ``[n, classes]``."""
    _, channels, height, width = shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        return nn.Sequential(
            nn.Conv2d(channels, _CHANNELS, 5, stride=2, padding=2),
            nn.Tanh(),
            nn.Conv2d(_CHANNELS, _CHANNELS, 5, stride=2, padding=2),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(_CHANNELS * math.ceil(height / 4) * math.ceil(width / 4), len(study.task.classes)),
        )


def _rebuilt(study: Study, shape: torch.Size, target: torch.Tensor, update: torch.Tensor) -> torch.Tensor:
    """The image whose gradient points most like ``update``."""
    network = _network(study, shape)
    draw = torch.Generator().manual_seed(_SEED)
    image = (0.5 + 0.1 * torch.randn(shape, generator=draw)).requires_grad_(True)
    optimizer = torch.optim.Adam([image], lr=_LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _ITERATIONS)
    learning = list(network.parameters())
    for _ in range(_ITERATIONS):
        loss = cross_entropy(network(image), target)
        gradient = torch.autograd.grad(loss, learning, create_graph=True)
        flat = torch.cat([part.flatten() for part in gradient])
        distance = 1 - cosine_similarity(flat, update, dim=0) + _SMOOTHNESS * _variation(image)
        (slope,) = torch.autograd.grad(distance, [image])
        image.grad = slope.sign()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            image.clamp_(0, 1)
    return image.detach()


def _variation(image: torch.Tensor) -> torch.Tensor:
    """Total variation: the mean step from a pixel to its neighbours."""
    down = (image[..., 1:, :] - image[..., :-1, :]).abs().mean()
    across = (image[..., 1:] - image[..., :-1]).abs().mean()
    return down + across


def _noise_picture(shape: tuple[int, ...]) -> Picture:
    """Noise with amplitudes f^-1.5, which lies between clouds and photographs."""
    frequency = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) for n in shape[1:]), indexing="ij"))
    frequency[0, 0] = 1 / max(shape)
    spectrum = np.fft.fft2(np.random.default_rng(_SEED).normal(size=shape)) * frequency**-1.5
    return np.fft.ifft2(spectrum).real.astype(np.float32)


def _side_by_side(*images: torch.Tensor) -> bytes:
    """Pictures ``[1, channels, height, width]`` in a row, as a PNG; each channel counts alike."""
    figure = Figure(figsize=(3.0 * len(images), 3.0), layout="constrained")
    for axes, image in zip(figure.subplots(1, len(images)), images, strict=True):
        axes.imshow(image[0].mean(0).numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return buffer.getvalue()
