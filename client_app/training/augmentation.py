"""Images moved a little, so that a patient is seen in several ways (De et al. 2022, 2204.13650, section 3.2).

The views of a patient's images are averaged before clipping, so a patient still moves a sum by at most C,
however many there are, and the accounting stays as it is. How images are moved is drawn without looking at
them, from a stream of its own.
"""

import math

import torch
from torch.nn.functional import affine_grid, grid_sample

from client_app.training.batches import Batch
from client_app.training.stream import Stream
from federation.study import AugmentationSpec


def augmented(batch: Batch, spec: AugmentationSpec, stream: Stream) -> Batch:
    """``spec.views`` moved copies of each image of ``batch``.

    Args:
        batch: images ``[images, channels, (depth,) height, width]``.
        spec: how far they move.
        stream: where the moves come from.
    """
    images = batch.images.repeat_interleave(spec.views, 0)
    return Batch(
        images=moved(images, spec, stream),
        targets=batch.targets.repeat_interleave(spec.views),
        counted=batch.counted,
    )


def moved(images: torch.Tensor, spec: AugmentationSpec, stream: Stream) -> torch.Tensor:
    """Each image turned about its centre in its last two axes, shifted along every axis, perhaps mirrored.

    What comes in from beyond the border repeats the border.
    """
    axes = images.ndim - 2
    draws = torch.from_numpy(stream.uniform(len(images) * (axes + 2)).reshape(axes + 2, -1)).float()
    angle = (2 * draws[0] - 1) * math.radians(spec.rotation)
    side = torch.where(draws[1] < 0.5, -1.0, 1.0) if spec.mirror else torch.ones(len(images))
    moves = torch.zeros(len(images), axes, axes + 1)
    for axis in range(2, axes):
        moves[:, axis, axis] = 1
    # Width comes first, in units of half the image; pixels need not be square in them.
    tall, wide = images.shape[-2:]
    moves[:, 0, 0], moves[:, 0, 1] = side * angle.cos(), -side * angle.sin() * tall / wide
    moves[:, 1, 0], moves[:, 1, 1] = angle.sin() * wide / tall, angle.cos()
    moves[:, :, -1] = (2 * draws[2:].T - 1) * 2 * spec.shift
    grid = affine_grid(moves, list(images.shape), align_corners=False)
    return grid_sample(images, grid, padding_mode="border", align_corners=False)
