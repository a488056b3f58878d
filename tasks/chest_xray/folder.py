"""A folder of images, or a zip of one, whose names or a CSV tell label and patient."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np

from federation.errors import DataError
from tasks.chest_xray.collection import Collection
from tasks.chest_xray.image import grey_image
from tasks.chest_xray.settings import Settings
from tasks.split import in_train

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_COLUMNS = {"file", "label"}


def read_folder(settings: Settings, data: Path, classes: tuple[str, ...]) -> Collection:
    """All images, sorted by name.

    Raises:
        DataError: a file cannot be read, has no label, no patient, or a label that is no class.
    """
    root = data / settings.images
    facts = _listed(data / settings.labels) if settings.labels else {}
    names, images, labels, patients, held_out, sites = [], [], [], [], [], []
    for name, content in _files(root):
        fact = facts.get(name, {}) if facts else {"label": name.split("/")[0]}
        if not fact:
            continue  # a CSV chooses: what it does not name does not take part
        patient = fact.get("patient") or _patient(name, settings.patient_pattern)
        names.append(name)
        images.append(grey_image(name, content, settings.size))
        labels.append(_label(name, fact["label"], classes))
        patients.append(patient)
        held_out.append(_held_out(name, fact.get("split") or ("train" if in_train(patient) else "test")))
        sites.append(_site(name, fact.get("site") or "", settings))
    if not images:
        raise DataError(f"{root} holds no image that takes part; is it the right folder?")
    missing = sorted(set(facts) - set(names))
    if missing:
        raise DataError(
            f"{settings.labels} names {len(missing)} files that {root} does not hold: {missing[:3]}"
        )
    _one_side(patients, held_out)
    _one_site(patients, sites)
    return Collection(np.stack(images), np.array(labels, dtype=np.int64), patients, np.array(held_out), sites)


def _files(root: Path) -> Iterator[tuple[str, bytes]]:
    """Names below ``root`` (a folder or a zip) with their content, sorted; one at a time is in memory."""
    try:
        if root.is_dir():
            for name in sorted(path.relative_to(root).as_posix() for path in root.rglob("*")):
                if _is_image(name):
                    yield name, (root / name).read_bytes()
            return
        with ZipFile(root) as archive:
            for name in sorted(filter(_is_image, archive.namelist())):
                yield name, archive.read(name)
    except FileNotFoundError as error:
        raise DataError(
            f"{root} does not exist; set site.data.folder, or task.options.images below it"
        ) from error
    except (BadZipFile, OSError, RuntimeError) as error:  # zipfile says by RuntimeError: encrypted
        raise DataError(f"{root} is neither a folder nor a whole zip: {error}") from error


def _is_image(name: str) -> bool:
    """Whether a name is an image's; macOS leaves ``._`` files beside them that are none."""
    return name.lower().endswith(_SUFFIXES) and not name.rsplit("/", 1)[-1].startswith("._")


def _listed(path: Path) -> dict[str, dict[str, str]]:
    """The rows of the CSV by file name."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a CSV: {error}") from error
    if not rows or not set(rows[0]) >= _COLUMNS:
        raise DataError(f"{path} needs the columns {sorted(_COLUMNS)}, and may have patient, site and split")
    listed: dict[str, dict[str, str]] = {}
    for row in rows:
        if not row["file"] or not row["label"]:
            raise DataError(f"{path} has a row without file or label: {row}")
        if row["file"] in listed:
            raise DataError(f"{path} names {row['file']} twice")
        listed[row["file"]] = row
    return listed


def _patient(name: str, pattern: str) -> str:
    found = re.search(pattern, name.rsplit("/", 1)[-1]) if pattern else None
    if pattern and found is None:
        raise DataError(
            f"image {name}: task.options.patient_pattern={pattern!r} finds no patient in its name"
        )
    if found is None:
        return name
    # Numbered, since "person(7)" and "IM-(7)" are two people; without groups, all that was found tells.
    groups = [f"{place}:{group}" for place, group in enumerate(found.groups(), 1) if group is not None]
    return "-".join(groups) or found.group(0)


def _label(name: str, label: str, classes: tuple[str, ...]) -> int:
    lowered = [known.lower() for known in classes]
    if label.lower() not in lowered:
        raise DataError(f"image {name} has label {label!r}, which is none of the classes {list(classes)}")
    return lowered.index(label.lower())


def _held_out(name: str, split: str) -> bool:
    if split not in ("train", "test"):
        raise DataError(f"image {name} has split {split!r}, which is neither train nor test")
    return split == "test"


def _site(name: str, site: str, settings: Settings) -> str:
    if settings.partition != "list":
        return ""  # nobody asks
    if not site:
        raise DataError(
            f"image {name} has no site in {settings.labels}; task.options.partition=list needs one"
        )
    return site


def _one_site(patients: list[str], sites: list[str]) -> None:
    """Refuse a CSV that puts a patient into two hospitals."""
    first: dict[str, str] = {}
    for patient, site in zip(patients, sites, strict=True):
        if first.setdefault(patient, site) != site:
            raise DataError(f"patient {patient} is at two sites, {first[patient]} and {site}")


def _one_side(patients: list[str], held_out: list[bool]) -> None:
    """Refuse a CSV that puts a patient on both sides of the split."""
    test = {patient for patient, out in zip(patients, held_out, strict=True) if out}
    both = sorted(test & {patient for patient, out in zip(patients, held_out, strict=True) if not out})
    if both:
        raise DataError(
            f"{len(both)} patients are in train and in test, e.g. {both[0]}; a patient has one side"
        )
