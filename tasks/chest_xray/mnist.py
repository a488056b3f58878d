"""PneumoniaMNIST (Yang et al. 2023, MedMNIST v2): 28 x 28 pixels, split into train, validation and test."""

import zlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from federation.cache import cache_folder
from federation.errors import DataError
from tasks.chest_xray.collection import Collection
from tasks.chest_xray.settings import Settings

_PLACES = ("pneumoniamnist.npz", "pneumoniamnist_28.npz", "pneumoniamnist/pneumoniamnist_28.npz")


def read_pneumonia_mnist(settings: Settings, data: Path) -> Collection:
    """The images to learn from and those held out.

    There are no patient ids, so each image stands for a patient of its own. While a recipe is chosen on the
    validation images, the test images are not even read.

    Raises:
        DataError: the file is nowhere, cannot be fetched, or is not PneumoniaMNIST.
    """
    if settings.size != 28:
        raise DataError(f"task.options.size={settings.size}, but PneumoniaMNIST has 28 x 28 pixels")
    path = next((data / place for place in _PLACES if (data / place).exists()), None) or _fetched(data)
    held_out = "test" if settings.held_out == "test" else "val"
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            halves = {name: archive[f"{name}_images"] for name in ("train", held_out)}
            labels = np.concatenate([archive[f"{name}_labels"].ravel() for name in halves])
    except (OSError, EOFError, ValueError, KeyError, BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is not PneumoniaMNIST ({error}); delete it and fetch it again") from error
    return Collection(
        images=np.concatenate(list(halves.values())),
        labels=labels.astype(np.int64),
        patients=[f"{name}-{number}" for name, images in halves.items() for number in range(len(images))],
        held_out=np.repeat([False, True], [len(images) for images in halves.values()]),
        sites=[],
    )


def _fetched(data: Path) -> Path:
    """The archive as the ``medmnist`` package downloads it."""
    folder = cache_folder()
    path = folder / "pneumoniamnist.npz"
    if path.exists():
        return path
    try:
        from medmnist import PneumoniaMNIST  # noqa: PLC0415  (only who has no copy needs the package)

        folder.mkdir(parents=True, exist_ok=True)
        PneumoniaMNIST(split="train", download=True, root=str(folder))
    except Exception as error:
        raise DataError(
            f"PneumoniaMNIST is not in {data} (looked for {', '.join(_PLACES)}) and could not be fetched "
            f"({type(error).__name__}); copy pneumoniamnist.npz there, or set site.data.folder to where it is"
        ) from error
    return path
