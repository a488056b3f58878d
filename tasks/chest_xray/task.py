"""The X-rays of each simulated hospital, ready for a network."""

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from federation.errors import DataError
from federation.tasks import Cohort, Examples
from tasks.chest_xray.collection import Collection
from tasks.chest_xray.settings import Settings
from tasks.partition import Hospitals, Partition, deal, listed

CLASSES = ("normal", "pneumonia")


class ChestXrayTask:
    """Normal or pneumonia.

    Args:
        settings: what was chosen.
        data: the folder that holds the collection.
    """

    def __init__(self, settings: Settings, data: Path) -> None:
        self._settings = settings
        self._data = data

    def cohort(self, part: int, parts: int) -> Cohort:
        """The patients of hospital ``part``; train and test patients are dealt out alike.

        Raises:
            DataError: the collection cannot be read, or has fewer patients than there are hospitals.
        """
        if not 0 <= part < parts:
            raise DataError(f"hospital {part} of {parts} does not exist; they count from 0 to {parts - 1}")
        held_out = self._collection.held_out
        mine = self._hospitals(parts) == part
        return Cohort(
            description=f"{self._settings.partition} share {part + 1} of {parts}",
            train=self._examples(mine & ~held_out),
            test=self._examples(mine & held_out),
        )

    def public_examples(self, count: int, seed: int) -> Examples:
        """Not offered: nobody's lungs are generated here.

        Raises:
            DataError: always.
        """
        raise DataError(
            f"chest_xray generates no examples ({count} were asked for, seed {seed}); "
            "choose pretraining.source=random or noise"
        )

    def read_image(self, path: Path) -> NDArray[np.float32]:
        """An X-ray, ``[1, size, size]``.

        Of a large image PneumoniaMNIST took the square in the middle (Yang et al. 2023), so with that
        collection this does too; how it smoothed when it shrank images is not known.

        Raises:
            DataError: the file cannot be read as an image of 8 bits a pixel.
        """
        from tasks.chest_xray.image import grey_image  # noqa: PLC0415

        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"image {path} cannot be read ({error.strerror})") from error
        crop = self._settings.collection == "pneumonia_mnist"
        return _scaled(grey_image(path.name, content, self._settings.size, crop=crop))[None]

    @cached_property
    def _collection(self) -> Collection:
        # Each source brings libraries of its own; only the one that is used is loaded.
        if self._settings.collection == "folder":
            from tasks.chest_xray.folder import read_folder  # noqa: PLC0415

            return read_folder(self._settings, self._data, CLASSES)
        from tasks.chest_xray.mnist import read_pneumonia_mnist  # noqa: PLC0415

        return read_pneumonia_mnist(self._settings, self._data)

    def _hospitals(self, parts: int) -> Hospitals:
        """The hospital of each image."""
        collection, settings = self._collection, self._settings
        if settings.partition == "list":
            return listed(collection.sites, parts)
        people, first, rows = np.unique(collection.patients, return_index=True, return_inverse=True)
        hospitals = np.empty(len(people), dtype=np.int64)
        for side in (False, True):
            there = collection.held_out[first] == side
            if not there.any():
                raise DataError(f"the collection has no {('train', 'test')[side]} patients; it needs both")
            labels = collection.labels[first][there]
            hospitals[there] = deal(
                labels, parts, Partition(settings.partition), settings.alpha, settings.seed
            )
        return hospitals[rows]

    def _examples(self, chosen: NDArray[np.bool_]) -> Examples:
        collection = self._collection
        identities, patients = np.unique(np.array(collection.patients)[chosen], return_inverse=True)
        return Examples(
            images=_scaled(collection.images[chosen])[:, None],
            targets=collection.labels[chosen],
            patients=patients.astype(np.int64),
            covariates={},
            identities=tuple(identities.tolist()),
        )


def _scaled(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Grey values as a network wants them, 0 to 1."""
    return (images / np.float32(255)).astype(np.float32)
