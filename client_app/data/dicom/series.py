"""The instances of one series as one volume.

What is no regular block of parallel slices is refused: an array with one spacing would not be true of it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.multival import MultiValue

from client_app.data.dicom.geometry import PROJECTIONS, Plane, plane
from client_app.data.dicom.pixels import frames
from client_app.data.refusal import Refused
from client_app.data.volume import Volume, compact
from federation.errors import DataError
from federation.site_store import Directions, Fact

_PARALLEL = 1e-4  # 1 - cosine of the largest angle between slices: 0.8 degrees
_SAME_PLACE = 1e-3  # mm
_EVEN = 0.05  # of the usual distance between slices, how much another may differ
_FACTS = {
    "SliceThickness": "slice_thickness",
    "KVP": "kvp",
    "ConvolutionKernel": "kernel",
    "Manufacturer": "manufacturer",
    "MagneticFieldStrength": "field_strength",
    "BodyPartExamined": "body_part",
    "LossyImageCompression": "lossy",
}
_LONGEST_FACT = 64
_TOO_LARGE = 1000  # mm, kV and T alike; such a number is another thing, perhaps somebody's


@dataclass(frozen=True)
class _Slice:
    """A slice with its values, int16 or float32 ``[rows, columns]``."""

    place: Plane
    values: NDArray[np.generic]


def volume(instances: Sequence[Dataset]) -> Volume:
    """The slices of one series in order, as measured; int16 where that loses nothing.

    Slices are sorted by where they lie, never by number or name. An instance that is there twice, with the
    same pixels, counts once.

    Raises:
        Refused: there is nothing (``no-instances``, ``localizer``), they do not belong together
            (``mixed-series``, ``mixed-modality``, ``mixed-shape``, ``mixed-spacing``, ``mixed-orientation``),
            one is there twice and differs (``duplicate-uid``), two lie at one place
            (``two-at-a-place``), slices are missing (``gap``), uneven (``uneven-slices``) or shifted
            (``tilted``), the distance between them is not known (``no-spacing``), or what `plane` and
            `frames` refuse.
    """
    if not instances:
        raise Refused("no-instances", "the series has no instances")
    _together(instances)
    first = instances[0]
    slices = _sorted(list(_slices(_once(instances))))
    _regular([each.place for each in slices])
    place = slices[0].place
    modality = str(first.Modality)
    between = _between([each.place for each in slices], modality)
    if not between < _TOO_LARGE:
        raise Refused("bad-geometry", f"slices of {_TOO_LARGE} mm or more cannot be")
    values = np.stack([each.values for each in slices])
    try:
        return Volume(
            values=compact(values.astype(np.float32)) if values.dtype != np.int16 else values,
            spacing=(between, *place.spacing),
            directions=_directions(place),
            modality=modality,
            facts=_facts(first),
        )
    except DataError as error:  # so that one series does not end an ingest
        raise error if isinstance(error, Refused) else Refused("bad-geometry", str(error)) from None


def _together(instances: Sequence[Dataset]) -> None:
    """Refuse instances of several series or modalities, and scouts, whose slices are projections."""
    for name, rule in (("SeriesInstanceUID", "mixed-series"), ("Modality", "mixed-modality")):
        values = [instance.get(name) for instance in instances]
        found = {value if isinstance(value, str) else "" for value in values}
        if len(found) != 1 or "" in found:
            raise Refused(rule, f"the instances have {len(found)} values of {name}, and must have one")
    if any("LOCALIZER" in (instance.get("ImageType") or ()) for instance in instances):
        raise Refused("localizer", "the series is a localizer (ImageType), and no volume")


def _once(instances: Sequence[Dataset]) -> list[Dataset]:
    """Each instance once.

    Raises:
        Refused: two of one UID have other pixels.
    """
    found: dict[str, Dataset] = {}
    for instance in instances:
        other = found.setdefault(str(instance.SOPInstanceUID), instance)
        if any(other.get(name) != instance.get(name) for name in ("PixelData", "ImagePositionPatient")):
            raise Refused(
                "duplicate-uid", "two instances have one SOP instance UID and different pixels or places"
            )
    return list(found.values())


def _slices(instances: Sequence[Dataset]) -> Iterator[_Slice]:
    for instance in instances:
        for number, values in enumerate(frames(instance)):
            yield _Slice(plane(instance, number), compact(values))


def _sorted(slices: list[_Slice]) -> list[_Slice]:
    """By where they lie along their normal; what is there twice with the same values, once.

    Raises:
        Refused: they differ in shape, spacing or orientation, or two lie at one place.
    """
    first = slices[0].place
    for each in slices:
        if each.values.shape != slices[0].values.shape:
            raise Refused(
                "mixed-shape", f"slices of {slices[0].values.shape} and of {each.values.shape} pixels"
            )
        if not np.allclose(each.place.spacing, first.spacing, rtol=1e-3):
            raise Refused("mixed-spacing", f"pixels of {first.spacing} and of {each.place.spacing} mm")
        cosines = (
            each.place.along_rows @ first.along_rows,
            each.place.along_columns @ first.along_columns,
        )
        if min(cosines) < 1 - _PARALLEL:
            raise Refused(
                "mixed-orientation", "the slices are not parallel, or are turned within their plane"
            )
    normal = first.normal
    ordered: list[_Slice] = []
    for each in sorted(slices, key=lambda each: float(each.place.position @ normal)):
        if ordered and _distance(ordered[-1].place, each.place, normal) < _SAME_PLACE:
            if not np.array_equal(ordered[-1].values, each.values):
                raise Refused("two-at-a-place", "two slices lie at one place; phases or echoes must be split")
            continue
        ordered.append(each)
    return ordered


def _distance(one: Plane, other: Plane, normal: NDArray[np.float64]) -> float:
    return float((other.position - one.position) @ normal)


def _regular(places: Sequence[Plane]) -> None:
    """Refuse slices that are missing, uneven, or shifted within their plane."""
    if len(places) < 2:
        return
    normal = places[0].normal
    steps = np.array([_distance(*pair, normal) for pair in pairwise(places)])
    usual = float(np.median(steps))
    if steps.max() > 1.5 * usual:
        raise Refused("gap", f"slices are {usual:g} mm apart, and once {steps.max():g} mm: some are missing")
    if np.abs(steps - usual).max() > max(_EVEN * usual, 0.02):
        raise Refused("uneven-slices", f"slices are between {steps.min():g} and {steps.max():g} mm apart")
    for each in places[1:]:
        shift = each.position - places[0].position
        aside = np.linalg.norm(shift - (shift @ normal) * normal)
        if aside > 0.5 * min(each.spacing):
            raise Refused("tilted", f"slices are shifted by {aside:.3g} mm against each other (gantry tilt)")


def _between(places: Sequence[Plane], modality: str) -> float:
    """The distance between slices in mm; of a single one, what is said of it."""
    if len(places) > 1:
        return (places[-1].along - places[0].along) / (len(places) - 1)
    place = places[0]
    if place.between > 0 or place.thickness > 0:
        return place.between if place.between > 0 else place.thickness
    if modality in PROJECTIONS:
        return 1.0  # of nothing
    raise Refused("no-spacing", "a single slice that does not say how thick it is")


def _directions(place: Plane) -> Directions:
    """Along slices, rows and columns of the array."""
    slices, rows, columns = (_vector(axis) for axis in (place.normal, place.along_columns, place.along_rows))
    return slices, rows, columns


def _vector(axis: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = (axis + 0.0).tolist()  # no -0, which would be another text in the manifest
    return x, y, z


def _facts(dataset: Dataset) -> dict[str, Fact]:
    """How it was acquired, from a short list of attributes that say nothing of a patient."""
    facts: dict[str, Fact] = {}
    for keyword, name in _FACTS.items():
        value = dataset.get(keyword)
        if isinstance(value, MultiValue) and all(isinstance(each, str) for each in value):
            value = "/".join(map(str, value))
        if isinstance(value, float | int):
            if abs(value) < _TOO_LARGE:
                facts[name] = float(value)
        elif isinstance(value, str) and 0 < len(value) <= _LONGEST_FACT:
            facts[name] = value
    return facts
