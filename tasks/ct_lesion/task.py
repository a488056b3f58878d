"""The hospital's cohort: whoever has a series of the modality and a label, on either side of the split."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from federation.cache import Arrays, cache_folder, cached
from federation.errors import DataError
from federation.files import make_folder
from federation.site_store import SiteStore, StoredSeries, has_store, open_store
from federation.tasks import Cohort, Examples
from tasks.ct_lesion.prepare import prepare, window
from tasks.ct_lesion.settings import Settings
from tasks.nodule_ct.label import Label
from tasks.split import in_train

_LIBRARIES = ("monai", "numpy", "scipy", "torch")
# What tasks.nodule_ct generates: for these settings alone a phantom looks as a prepared slice does.
_OF_PHANTOMS = {
    "modality": "CT",
    "plane": "axial",
    "spacing": 0.75,
    "size": 64,
    "low": -1000.0,
    "high": 400.0,
}


@dataclass(frozen=True)
class LesionTask:
    """See ``CARD.md``.

    Attributes:
        settings: what the study asks for.
        folder: the store; or, in simulations, a folder with a store for each hospital.
    """

    settings: Settings
    folder: Path

    def cohort(self, part: int, parts: int) -> Cohort:
        """The patients of the store in ``folder``; of several stores below it, of the one at place ``part``.

        Raises:
            DataError: there is no such store, or nobody in it has what the study asks for.
        """
        folder = self._store(part, parts)
        store = open_store(folder)
        _forget_others(store)
        chosen = [each for each in store.series if self._takes_part(each)]
        if not chosen:
            raise DataError(
                f"none of the {len(store.series)} series in {folder} is {self.settings.modality} with "
                f"{self.settings.label} one of {list(self.settings.class_names)}"
                f"{self._with_covariates()}; compare with what the ingest called its features"
            )
        arrays = self._cached(store, chosen)
        identities, patients = np.unique([each.patient for each in chosen], return_inverse=True)
        everybody = Examples(
            images=arrays["images"].astype(np.float32),
            targets=np.array([self._target(each) for each in chosen], dtype=np.int64),
            patients=patients.astype(np.int64),
            covariates={
                name: np.array([each.features[name] for each in chosen], dtype=np.float64)
                for name in self.settings.covariate_names
            },
            identities=tuple(identities.tolist()),
        )
        learnt = [patient for patient in everybody.identities if in_train(patient)]
        description = f"{self.settings.modality} from the store in {folder.name}"
        return Cohort(description, everybody.only(learnt), everybody.without(learnt), store.version)

    def public_examples(self, count: int, seed: int) -> Examples:
        """``count`` phantoms of ``tasks.nodule_ct``, where the settings prepare slices as those are drawn.

        Raises:
            DataError: with these settings there are none.
        """
        if self.settings.model_dump(include=set(_OF_PHANTOMS)) != _OF_PHANTOMS:
            raise DataError(
                "ct_lesion generates examples only of what looks as the lung nodules of nodule_ct do "
                f"({_OF_PHANTOMS}); choose pretraining.source=random"
            )
        if len(self.settings.class_names) != 2:
            raise DataError("generated nodules have two classes; choose pretraining.source=random")
        from tasks.nodule_ct.cohort import NoduleTask  # noqa: PLC0415  (most studies do without)

        return NoduleTask(Label.MALIGNANCY).public_examples(count, seed)

    def read_image(self, path: Path) -> NDArray[np.float32]:
        """A slice as measured, of the study's spacing and size, from a ``.npy`` file; ``[1, size, size]``.

        Raises:
            DataError: the file holds no such slice.
        """
        size = self.settings.size
        takes = (
            f"ct_lesion takes .npy files: {size} x {size} numbers of {self.settings.spacing} mm, as measured"
        )
        if path.suffix.lower() != ".npy":
            raise DataError(f"{path.name} is no array; {takes}")
        try:
            with path.open("rb") as file:
                values = np.lib.format.read_array(file, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{path.name} cannot be read ({error}); {takes}") from error
        if values.shape != (size, size) or values.dtype.kind not in "iuf" or not np.isfinite(values).all():
            raise DataError(f"{path.name} holds {values.dtype} {list(values.shape)}; {takes}")
        return window(values, self.settings)[None]

    def _store(self, part: int, parts: int) -> Path:
        """Where the store of a hospital is."""
        if has_store(self.folder):
            if (part, parts) != (0, 1):
                raise DataError(
                    f"{self.folder} is the store of one hospital, not of {parts}; set site.data.of=1"
                )
            return self.folder
        below = sorted(path for path in self.folder.glob("*") if has_store(path))
        if not 0 <= part < parts <= len(below):
            raise DataError(
                f"hospital {part} of {parts} was asked for, and {self.folder} has {len(below)} stores below "
                "it; set site.data.folder to a hospital's store, or to a folder of them"
            )
        return below[part]

    def _takes_part(self, series: StoredSeries) -> bool:
        numbers = (series.features.get(name) for name in self.settings.covariate_names)
        return (
            series.modality == self.settings.modality
            and self._target(series) is not None
            and all(isinstance(number, int | float) for number in numbers)
        )

    def _target(self, series: StoredSeries) -> int | None:
        """The class of a series; None where its label is none of them."""
        value = series.features.get(self.settings.label)
        names = self.settings.class_names
        return names.index(str(value)) if str(value) in names else None

    def _with_covariates(self) -> str:
        names = self.settings.covariate_names
        return f", and with the numbers {list(names)}" if names else ""

    def _cached(self, store: SiteStore, chosen: Sequence[StoredSeries]) -> Arrays:
        """The prepared slices."""
        asked = json.dumps([self.settings.model_dump(), _code_version()], sort_keys=True)
        return cached(
            f"{_private_folder().name}/{_called(store)}",
            sha256(asked.encode()).hexdigest(),
            lambda: {
                "images": np.stack(
                    [
                        prepare(store.array(each), each.spacing, each.directions, self.settings)
                        for each in chosen
                    ]
                )
            },
        )


def _called(store: SiteStore) -> str:
    """What the cache calls a store: where it is, and its version."""
    return f"{_place(store)}-{store.version[:16]}"


def _place(store: SiteStore) -> str:
    return sha256(str(store.folder.resolve()).encode()).hexdigest()[:16]


def _forget_others(store: SiteStore) -> None:
    """Remove what was made of another version of the store, and with it whoever withdrew, be it everybody."""
    for path in _private_folder().glob(f"{_place(store)}-*"):
        if not path.name.startswith(_called(store)):
            with suppress(OSError):  # of another user; then it is that one's to remove
                path.unlink()


def _private_folder() -> Path:
    """Where prepared slices are kept: they are patients', so for nobody's eyes but this process's user."""
    folder = cache_folder() / "ct_lesion"
    with suppress(OSError):  # `cached` says so when it cannot write
        make_folder(folder, mode=0o700)
    return folder


@lru_cache(maxsize=1)
def _code_version() -> str:
    """SHA-256 over what decides how a slice is prepared."""
    digest = sha256()
    for source in ("prepare.py", "settings.py", "task.py"):
        digest.update(Path(__file__).with_name(source).read_bytes())
    for library in _LIBRARIES:
        digest.update(f"{library}=={version(library)}".encode())
    return digest.hexdigest()
