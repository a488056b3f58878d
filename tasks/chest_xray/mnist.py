"""PneumoniaMNIST (Yang et al. 2023, MedMNIST v2): 28 x 28 pixels, split into train, validation and test."""

from pathlib import Path

import numpy as np

from federation.cache import cache_folder
from federation.errors import DataError
from federation.npy import from_npz
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
    halves = ("train", "test" if settings.held_out == "test" else "val")
    try:
        arrays = from_npz(
            path.read_bytes(), [f"{half}_{what}" for half in halves for what in ("images", "labels")]
        )
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not PneumoniaMNIST ({error}); delete it and fetch it again") from error
    images = [arrays[f"{half}_images"].astype(np.uint8) for half in halves]
    counts = [len(each) for each in images]
    return Collection(
        images=np.concatenate(images),
        labels=np.concatenate([arrays[f"{half}_labels"].ravel().astype(np.int64) for half in halves]),
        patients=[f"{half}-{n}" for half, count in zip(halves, counts, strict=True) for n in range(count)],
        held_out=np.repeat([False, True], counts),
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
