"""A stored model on a folder of images: a CSV with a row for each."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from federation.errors import DataError
from federation.files import write_whole
from federation.stored_models import StoredModel
from federation.study import TaskSpec
from federation.tasks import Task, load_task

_IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".npy"}
_AT_ONCE = 64


@dataclass(frozen=True)
class Predictions:
    """What a model says of some images.

    Attributes:
        classes: the names of the classes.
        files: the images' names below their folder.
        probabilities: float64 ``[files, classes]``.
        unreadable: why, for each image that could not be read.
    """

    classes: tuple[str, ...]
    files: tuple[str, ...]
    probabilities: NDArray[np.float64]
    unreadable: dict[str, str]

    def write_csv(self, path: Path) -> None:
        """Write ``file``, ``class`` and a column ``p_<class>`` for each class.

        Raises:
            StorageError: the disk did not take it; what was there before is still whole.
        """
        text = StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["file", "class", *(f"p_{name}" for name in self.classes)])
        for file, row in zip(self.files, self.probabilities, strict=True):
            rows.writerow([file, self.classes[int(row.argmax())], *(f"{value:.6g}" for value in row)])
        # A file's name is bytes to the system; what is no UTF-8 comes back as it was.
        write_whole(path, text.getvalue().encode(errors="surrogateescape"))


def predict_folder(model: StoredModel, folder: Path) -> Predictions:
    """What ``model`` says of every image in ``folder`` and below, in the order of their names.

    Images are prepared as those the model learnt from. Other files are passed over.

    Raises:
        DataError: ``folder`` holds no image, or none that the study's task can read.
    """
    spec = model.study.task
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; name one that holds images")
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if _is_image(path)]
    if not names:
        raise DataError(f"{folder} holds no image; their names end in {', '.join(sorted(_IMAGES))}")
    network, task = model.network(), load_task(spec.package, spec.options)
    files: list[str] = []
    scored: list[NDArray[np.float64]] = []
    unreadable: dict[str, str] = {}
    for batch in _batches(names):
        images = []
        for name in batch:
            try:
                images.append(_read(task, spec, folder / name))
                files.append(name)
            except DataError as error:
                unreadable[name] = str(error)
        if images:
            scored.append(_probabilities(network, np.stack(images)))
    if not files:
        name, reason = next(iter(unreadable.items()))
        raise DataError(f"none of the {len(unreadable)} images in {folder} can be read; {name}: {reason}")
    return Predictions(spec.classes, tuple(files), np.concatenate(scored), unreadable)


def _is_image(path: Path) -> bool:
    """By its ending; macOS leaves ``._`` files beside images that are none."""
    return path.suffix.lower() in _IMAGES and not path.name.startswith("._") and path.is_file()


def _batches(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), _AT_ONCE):
        yield names[start : start + _AT_ONCE]


def _read(task: Task, spec: TaskSpec, path: Path) -> NDArray[np.float32]:
    image, expected = task.read_image(path), (spec.channels, *spec.image_size)
    if image.shape != expected:
        raise DataError(f"{path.name} becomes {list(image.shape)}, but the study has {list(expected)}")
    return image


def _probabilities(network: nn.Module, images: NDArray[np.float32]) -> NDArray[np.float64]:
    with torch.inference_mode():
        scores: NDArray[np.float64] = network(torch.from_numpy(images)).double().softmax(1).numpy()
    return scores
