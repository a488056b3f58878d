"""From outlines to what a slice of finite thickness sees of a lesion.

The patch is `SIZE` x `SIZE` pixels of `PIXEL` mm. Positions are in mm, column then row, from its centre.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tasks.nodule_ct.lidc import Contour, Nodule

SIZE = 64
PIXEL = 0.75
_FINER = 4  # curves are filled on a grid this much finer, so that edges carry the covered share of a pixel

_REACH = 1 / 3  # the three sampling planes stand at -1/3, 0 and 1/3 of the slice thickness


class Calcification(IntEnum):
    """The patterns of LIDC-IDRI, by their rating."""

    POPCORN = 1
    LAMINATED = 2
    SOLID = 3
    NON_CENTRAL = 4
    CENTRAL = 5
    ABSENT = 6


@dataclass(frozen=True)
class Lesion:
    """All that a renderer may know of a lesion. What anybody thinks it *is* has no place here.

    Attributes:
        coverage: float32 ``[64, 64]``, the share of each pixel's column through the slice that it fills.
        texture: 1 (ground glass) to 5 (solid).
        margin: 1 (poorly defined) to 5 (sharp).
        pattern: where calcium lies.
        calcified: the share of readers who saw calcium, 0 to 1.
    """

    coverage: NDArray[np.float32]
    texture: float
    margin: float
    pattern: Calcification
    calcified: float

    @property
    def radius(self) -> float:
        """Of a disc that covers as much, in mm."""
        return float(np.sqrt(self.coverage.sum() / np.pi)) * PIXEL


def fill(curves: Sequence[tuple[bool, NDArray[np.float64]]]) -> NDArray[np.float32]:
    """The share of each pixel that lies inside the curves, float32 ``[64, 64]``.

    Args:
        curves: for each whether it includes or cuts a hole, and its corners ``[points, 2]`` in mm.
    """
    canvas = new_canvas()
    draw = ImageDraw.Draw(canvas)
    # Holes after the curves that they are in.
    for includes, corners in sorted(curves, key=lambda curve: not curve[0]):
        draw.polygon(to_canvas(corners).ravel().tolist(), fill=255 if includes else 0)
    return shares(canvas)


def to_canvas(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Corners ``[..., 2]`` in mm from the patch's centre, on the finer grid."""
    return (corners / PIXEL + SIZE / 2) * _FINER - 0.5


def shares(canvas: Image.Image) -> NDArray[np.float32]:
    """The mean over the fine pixels in each pixel, 0 to 1, float32 ``[64, 64]``."""
    return np.asarray(canvas.reduce(_FINER), dtype=np.float32) / np.float32(255)


def new_canvas() -> Image.Image:
    """An empty fine grid to draw on with `to_canvas` and read with `shares`."""
    return Image.new("L", (SIZE * _FINER, SIZE * _FINER))


def slab_weights(spacing: float, thickness: float) -> tuple[float, float]:
    """How much of a slice's signal comes from its own outline and from each neighbour's.

    Three planes at -1/3, 0 and 1/3 of the thickness, each interpolated linearly between the outlines, which
    lie ``spacing`` mm apart.
    """
    towards_neighbour = min(_REACH * thickness / spacing, 1.0)
    neighbour = towards_neighbour / 3
    return 1 - 2 * neighbour, neighbour


def area(contours: Sequence[Contour], pixel_spacing: float) -> float:
    """What the contours of one slice enclose, in mm², holes taken off (shoelace formula)."""
    total = 0.0
    for contour in contours:
        x, y = np.concatenate([contour.points, contour.points[:1]]).T
        enclosed = abs(int(np.dot(x[:-1], y[1:]) - np.dot(y[:-1], x[1:]))) / 2
        total += enclosed if contour.includes else -enclosed
    return max(total, 0.0) * pixel_spacing**2


def largest_slice(nodule: Nodule) -> tuple[float, float]:
    """The z position in mm where the nodule is largest, and its area there in mm², both over all readers.

    A reader who saw nothing on a slice counts as zero there.
    """
    areas: dict[float, float] = {}
    for reading in nodule.readings:
        for z, contours in reading.outlines.items():
            areas[z] = areas.get(z, 0.0) + area(contours, nodule.pixel_spacing)
    z = max(sorted(areas), key=areas.__getitem__)
    return z, areas[z] / len(nodule.readings)


def lesion_of(nodule: Nodule) -> Lesion:
    """What the renderer may know of a nodule: its shape where it is largest, and how it looks."""
    centre_z, _ = largest_slice(nodule)
    positions = sorted({z for reading in nodule.readings for z in reading.outlines})
    gaps = np.diff(positions)
    spacing = float(np.median(gaps)) if len(gaps) else nodule.slice_thickness
    own, neighbour = slab_weights(spacing, nodule.slice_thickness)
    corners = [c.points for r in nodule.readings for c in r.outlines.get(centre_z, ())]
    centre = np.mean([(p.min(axis=0) + p.max(axis=0)) / 2 for p in corners], axis=0)
    coverage = np.zeros((SIZE, SIZE), dtype=np.float32)
    for z in positions:
        # Missing slices leave gaps wider than the spacing; an outline beyond one is no neighbour.
        if abs(z - centre_z) < 1.5 * spacing:
            weight = own if z == centre_z else neighbour
            for reading in nodule.readings:
                curves = [
                    (c.includes, (c.points - centre) * nodule.pixel_spacing)
                    for c in reading.outlines.get(z, ())
                ]
                if curves:
                    coverage += np.float32(weight / len(nodule.readings)) * fill(curves)
    votes = [reading.ratings.calcification for reading in nodule.readings]
    calcium = [vote for vote in votes if vote != Calcification.ABSENT]
    return Lesion(
        coverage=coverage,
        texture=float(np.mean([reading.ratings.texture for reading in nodule.readings])),
        margin=float(np.mean([reading.ratings.margin for reading in nodule.readings])),
        pattern=Calcification(max(sorted(calcium), key=calcium.count)) if calcium else Calcification.ABSENT,
        calcified=len(calcium) / len(votes),
    )
