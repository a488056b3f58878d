"""A folder of PNG or NIfTI images, and a CSV of them with the columns file, patient and label.

Errors tell the row of the CSV, since files are often named after patients.
"""

import csv
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from client_app.data.refusal import Refused
from federation.errors import ConfigError, DataError

_COLUMNS = ("file", "patient", "label")
_NIFTI = (".nii", ".nii.gz")
_DEPTH = ("I", "I;16", "I;16B", "I;16L", "F")  # modes that hold more than 8 bits
_MOST_VOXELS = 1 << 30


@dataclass(frozen=True, repr=False)
class LabelledImage:
    """An image and what the CSV says of it.

    Attributes:
        patient: the patient's id at the hospital.
        label: the label.
        values: ``[slices, rows, columns]``, as the file has them; a PNG is one slice.
        spacing: of slices, rows and columns in mm; None where the file does not say.
    """

    patient: str
    label: str
    values: NDArray[np.float32]
    spacing: tuple[float, float, float] | None


def read_images(folder: Path, table: Path) -> Iterator[LabelledImage | Refused]:
    """The images that the CSV names, in its order; one that cannot be read is a refusal, the rest goes on.

    Raises:
        DataError: the CSV cannot be read, lacks a column or a value, or names a file twice.
        ConfigError: there are NIfTI files, and nothing to read them with.
    """
    root = folder.resolve()
    for number, row in enumerate(_rows(table), 2):
        where = f"row {number} of {table}"
        path = (root / row["file"]).resolve()
        try:
            if not path.is_relative_to(root) or not path.is_file():
                raise Refused("no-such-file", f"{where} names no file below {folder}")
            nifti = path.name.lower().endswith(_NIFTI)
            values, spacing = _nifti(path, where) if nifti else (_grey(path, where), None)
        except Refused as refusal:
            yield refusal
        else:
            yield LabelledImage(row["patient"], row["label"], values, spacing)


def _rows(table: Path) -> list[dict[str, str]]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table} cannot be read as a CSV ({type(error).__name__})") from None
    if not rows or not set(rows[0]) >= set(_COLUMNS):
        raise DataError(f"{table} has no rows, or not the columns {', '.join(_COLUMNS)}")
    seen: set[str] = set()
    for number, row in enumerate(rows, 2):
        if not all((row[column] or "").strip() for column in _COLUMNS):
            raise DataError(f"row {number} of {table} lacks one of {', '.join(_COLUMNS)}")
        if row["file"] in seen:
            raise DataError(f"row {number} of {table} names a file that a row above names")
        seen.add(row["file"])
    return rows


def _grey(path: Path, where: str) -> NDArray[np.float32]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("PNG",)) as image:
                grey = image if image.mode in ("L", *_DEPTH) else image.convert("L")
                return np.asarray(grey, dtype=np.float32)[None]
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        reason = type(error).__name__
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise Refused("too-large", f"{where}: the image has more pixels than is taken") from None
    raise Refused("not-an-image", f"{where}: the file is no whole PNG ({reason})")


def _nifti(path: Path, where: str) -> tuple[NDArray[np.float32], tuple[float, float, float]]:
    """Turned so that slices go from the feet up, rows from front to back and columns from right to left."""
    try:
        nibabel = import_module("nibabel")
    except ImportError:
        raise ConfigError(
            "to read NIfTI, nibabel is needed, which is not installed; pip install nibabel"
        ) from None
    try:
        image = nibabel.as_closest_canonical(nibabel.load(path))
        if len(image.shape) != 3 or np.prod(image.shape, dtype=np.int64) > _MOST_VOXELS:
            raise Refused(
                "not-a-volume", f"{where}: the file is not one volume of at most {_MOST_VOXELS} voxels"
            )
        x, y, z = (float(step) for step in image.header.get_zooms()[:3])
        # Canonical is right, front, up (RAS+); DICOM's axes are left, back, up.
        values = np.asarray(image.dataobj, dtype=np.float32)[::-1, ::-1].transpose(2, 1, 0)
    except Refused:
        raise
    except Exception as error:  # whatever nibabel raises for a stranger's bytes
        reason = type(error).__name__
    else:
        return np.ascontiguousarray(values), (z, y, x)
    raise Refused("not-an-image", f"{where}: the file is no whole NIfTI ({reason})")
