"""The hospitals' cohorts: who is in them, with which label, on which side of the split."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from federation.cache import Arrays, cached
from federation.errors import DataError
from federation.tasks import Cohort, Examples
from tasks.nodule_ct.label import Label
from tasks.nodule_ct.lidc import read_nodules
from tasks.nodule_ct.patch import read_patch, scale
from tasks.nodule_ct.phantom import phantom
from tasks.nodule_ct.protocol import PROTOCOLS, protocol_number
from tasks.nodule_ct.render import render_nodule
from tasks.nodule_ct.shape import largest_slice
from tasks.nodule_ct.version import code_version
from tasks.split import in_train


@dataclass(frozen=True)
class NoduleTask:
    """Lung nodules of LIDC-IDRI on rendered CT patches (see ``CARD.md``)."""

    label: Label

    def cohort(self, part: int, parts: int) -> Cohort:
        """The patients whose scans follow protocol ``part``, whatever the number of ``parts``.

        Raises:
            DataError: there are not that many protocols.
        """
        if not 1 <= parts <= len(PROTOCOLS):
            raise DataError(
                f"{parts} hospitals were asked for, but nodule_ct has {len(PROTOCOLS)}, one for each CT "
                f"protocol; choose a federation of 1 to {len(PROTOCOLS)} sites"
            )
        if not 0 <= part < parts:
            raise DataError(f"hospital {part} of {parts} does not exist; they count from 0 to {parts - 1}")
        arrays = cached(f"nodule_ct-{self.label}-{part}", code_version(), lambda: self._render(part))
        identities, patients = np.unique(arrays["patients"], return_inverse=True)
        everybody = _examples(arrays, patients.astype(np.int64), tuple(identities.tolist()))
        learnt = [patient for patient in everybody.identities if in_train(patient)]
        return Cohort(PROTOCOLS[part].description, everybody.only(learnt), everybody.without(learnt))

    def public_examples(self, count: int, seed: int) -> Examples:
        """``count`` phantoms, each a patient of its own; about 1.5 ms each when not cached.

        A larger count begins with the same phantoms.

        Raises:
            DataError: the count is not positive.
        """
        if count < 1:
            raise DataError(f"{count} public examples were asked for; ask for at least 1")
        arrays = cached(
            f"nodule_ct-phantoms-{seed}-{count}", code_version(), lambda: _render_phantoms(count, seed)
        )
        return _examples(arrays, np.arange(count))

    def read_image(self, path: Path) -> NDArray[np.float32]:
        """A patch of 64 x 64 numbers in HU from a ``.npy`` file, ``[1, 64, 64]``.

        Raises:
            DataError: the file is none.
        """
        return read_patch(path)

    def _render(self, part: int) -> Arrays:
        """All nodules of one hospital, sorted by patient."""
        chosen = [
            (nodule, target)
            for nodule in read_nodules()
            if protocol_number(nodule.slice_thickness) == part
            and (target := self.label.target(nodule)) is not None
        ]
        chosen.sort(key=lambda pair: pair[0].patient)
        return {
            "images": np.stack([render_nodule(nodule) for nodule, _ in chosen]),
            "targets": np.array([target for _, target in chosen], dtype=np.int64),
            "patients": np.array([nodule.patient for nodule, _ in chosen]),
            "area_mm2": np.array([largest_slice(nodule)[1] for nodule, _ in chosen]),
        }


def _render_phantoms(count: int, seed: int) -> Arrays:
    """The first ``count`` phantoms of a seed."""
    phantoms = [phantom(seed, number) for number in range(count)]
    return {
        "images": np.stack([one.image for one in phantoms]),
        "targets": np.array([one.target for one in phantoms], dtype=np.int64),
        "area_mm2": np.array([one.area for one in phantoms]),
    }


def _examples(arrays: Arrays, patients: NDArray[np.int64], identities: tuple[str, ...] = ()) -> Examples:
    """All rows, ready for a network."""
    area = arrays["area_mm2"].astype(np.float64)
    return Examples(
        images=scale(arrays["images"])[:, None],
        targets=arrays["targets"].astype(np.int64),
        patients=patients,
        covariates={"area_mm2": area, "diameter_mm": 2 * np.sqrt(area / np.pi)},
        identities=identities,
    )
