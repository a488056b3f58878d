"""Which patients take part in a step, and their images as tensors.

Libraries choose how to add up by the shape of a batch, and another order rounds otherwise. Weights made for
it can amplify that to any size, so that who else is in a step would show in a patient's gradient. Batches
therefore have shapes that do not depend on who is there: patients with equally many images, filled up to a
fixed number of them. ``training.places`` measures that their places in a batch do not matter either.
"""

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from client_app.training.stream import Stream
from federation.tasks import Examples


@dataclass(frozen=True)
class Batch:
    """All images of some patients who have equally many.

    Attributes:
        images: float32 ``[patients * each, ...]``, what the trained network takes; those of a patient lie
            together.
        targets: int64 ``[patients * each]``.
        counted: bool ``[patients]``; the others, at the end, fill the batch up and add nothing to any sum.
    """

    images: torch.Tensor
    targets: torch.Tensor
    counted: torch.Tensor

    @property
    def each(self) -> int:
        """How many images a patient has."""
        return len(self.images) // len(self.counted)

    def unfilled(self) -> "Batch":
        """Only the patients who count."""
        images = int(self.counted.sum()) * self.each
        return Batch(self.images[:images], self.targets[:images], self.counted[self.counted])


class Patients:
    """A cohort's training images, patient by patient.

    Attributes:
        images: float32 ``[images, channels, height, width]``, those of a patient one after another.
    """

    def __init__(self, examples: Examples) -> None:
        order = np.argsort(examples.patients, kind="stable")
        self.images = torch.from_numpy(np.ascontiguousarray(examples.images[order]))
        self._targets = torch.from_numpy(examples.targets[order])
        _, self._starts, self._counts = np.unique(
            examples.patients[order], return_index=True, return_counts=True
        )

    def __len__(self) -> int:
        return len(self._counts)

    def seen_as(self, images: torch.Tensor) -> "Patients":
        """The same patients with other tensors ``[images, ...]`` in the place of their images."""
        other = copy(self)
        other.images = images
        return other

    def one_image_each(self, stream: Stream) -> "Patients":
        """The same patients, each with one of their images, drawn from ``stream``."""
        picked = np.minimum(stream.uniform(len(self)) * self._counts, self._counts - 1).astype(np.int64)
        other = copy(self)
        other._starts, other._counts = self._starts + picked, np.ones_like(self._counts)
        return other

    def batches(self, chosen: NDArray[np.int64], most_images: int) -> Iterator[Batch]:
        """The ``chosen`` patients in batches of whole patients, those with fewer images first.

        A batch of patients with k images each has as many of them as ``most_images`` has room for, and one at
        least. The last one is filled up with copies of its first patient, which do not count.
        """
        counts = self._counts[chosen]
        for each in np.unique(counts).tolist():
            alike, size = chosen[counts == each], max(1, most_images // each)
            for start in range(0, len(alike), size):
                yield self._batch(alike[start : start + size], size, each)

    def _batch(self, chosen: NDArray[np.int64], size: int, each: int) -> Batch:
        filled = np.concatenate([chosen, np.repeat(chosen[0], size - len(chosen))])
        index = (self._starts[filled][:, None] + np.arange(each)).ravel()
        return Batch(
            images=self.images[index],
            targets=self._targets[index],
            counted=torch.arange(size) < len(chosen),
        )


def sample_patients(stream: Stream, patients: int, sampling_rate: float) -> NDArray[np.int64]:
    """Poisson sampling: each patient enters independently with probability ``sampling_rate``.

    The result may be empty; the step is taken all the same, or the guarantee would not hold.
    """
    return np.flatnonzero(stream.uniform(patients) < sampling_rate)
