"""Which patients take part in a step, and their images as tensors."""

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
    """All images of some patients.

    Attributes:
        images: float32 ``[images, ...]``, what the trained network takes.
        targets: int64 ``[images]``.
        rows: int64 ``[images]``, which of the batch's patients (0, 1, ...) each image shows: ascending, and
            each has one.
        patients: how many patients there are.
    """

    images: torch.Tensor
    targets: torch.Tensor
    rows: torch.Tensor
    patients: int


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
        """The ``chosen`` patients in batches of whole patients.

        A batch has at most ``most_images`` images, unless one patient alone has more.
        """
        start = 0
        while start < len(chosen):
            within = np.cumsum(self._counts[chosen[start:]]) <= most_images
            stop = start + max(1, int(within.sum()))
            yield self._batch(chosen[start:stop])
            start = stop

    def _batch(self, chosen: NDArray[np.int64]) -> Batch:
        counts = self._counts[chosen]
        index = self._index(chosen, counts)
        return Batch(
            images=self.images[index],
            targets=self._targets[index],
            rows=torch.from_numpy(np.repeat(np.arange(len(chosen)), counts)),
            patients=len(chosen),
        )

    def _index(self, chosen: NDArray[np.int64], counts: NDArray[np.int64]) -> slice | NDArray[np.int64]:
        """Where the images of ``chosen`` lie; of neighbours they lie together, and need not be copied."""
        start, stop = int(self._starts[chosen[0]]), int(self._starts[chosen[-1]] + counts[-1])
        neighbours = np.array_equal(chosen, np.arange(chosen[0], chosen[0] + len(chosen)))
        if neighbours and stop - start == counts.sum():
            return slice(start, stop)
        return np.concatenate(
            [np.arange(self._starts[p], self._starts[p] + n) for p, n in zip(chosen, counts, strict=True)]
        )


def sample_patients(stream: Stream, patients: int, sampling_rate: float) -> NDArray[np.int64]:
    """Poisson sampling: each patient enters independently with probability ``sampling_rate``.

    The result may be empty; the step is taken all the same, or the guarantee would not hold.
    """
    return np.flatnonzero(stream.uniform(patients) < sampling_rate)
