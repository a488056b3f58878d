"""Whether there may be text in an image: rows of small, sharp shapes of one colour, as letters are.

It is simple, and honest about that. It finds text of one line with at least four separate letters, 7 to 64
pixels high, upright, horizontal, in about the brightest or the darkest colour of the image. It does not find
handwriting, slanted or vertical text, fewer letters, letters that touch, grey, faint or very large ones; what
it lets pass is no proof. What it finds may be a ruler or a row of markers instead.

A ``wary`` look, for kinds of images that often have text, also finds grey and smaller letters, and takes more
for letters that are none: vessels in a lung, or fur.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_HEIGHTS = (5, 64)
_LETTERS = 4
_CONTRAST = 0.25  # of the range between the 1st and the 99.9th percentile
_SAME = 0.12  # of that range: what differs less is one colour
_EXTREME = 0.05  # of that range: text is drawn in white or black, as bright or dark as nearly nothing else is
_NOISE = 2.5  # times what an opening takes away from an image that is noise
_STROKE = 13  # pixels: what is wider is no stroke of a letter


@dataclass(frozen=True)
class _Shape:
    top: int
    bottom: int
    left: int
    right: int
    colour: float  # in parts of the image's range

    @property
    def height(self) -> int:
        return self.bottom - self.top


def looks_like_text(image: NDArray[np.generic], *, wary: bool = False) -> bool:
    """Whether ``image`` ``[rows, columns]`` or ``[rows, columns, samples]`` may have text in it."""
    values = np.nan_to_num(image.astype(np.float32))
    grey = values if values.ndim == 2 else values.max(axis=-1)
    if min(grey.shape) < _HEIGHTS[0]:
        return False
    low, high = np.percentile(grey[::2, ::2], (1, 99.9))
    spread = max(float(high - low), float(grey.max() - low) * _CONTRAST)
    if spread <= 0:
        return False
    # White is what little is brighter than. Black is what nothing is darker than: in lungs, much is dark.
    white, black = float(high) / spread - _EXTREME, float(-grey.min()) / spread - _EXTREME / 5
    same = 1.0 if wary else _SAME
    return any(
        _has_line(_letters(each, spread, -np.inf if wary else least), same)
        for each, least in ((grey, white), (-grey, black))
    )


def _letters(grey: NDArray[np.float32], spread: float, least: float) -> list[_Shape]:
    """Shapes brighter than their surroundings, and as bright as ``least``, that could each be a letter."""
    strokes = grey - _opened(grey)
    level = max(_CONTRAST * spread, _NOISE * float(np.median(strokes[::3, ::3])))
    labels, _ = ndimage.label(strokes > level, structure=np.ones((3, 3)))
    found = []
    for label, area in enumerate(ndimage.find_objects(labels), start=1):
        height, width = (side.stop - side.start for side in area)
        if not (_HEIGHTS[0] <= height <= _HEIGHTS[1] and 1 <= width <= 1.6 * height):
            continue
        inside = labels[area] == label
        levels = grey[area][inside] / spread
        colour = float(levels.max())
        drawn = (levels >= colour - _SAME).mean() >= 0.3  # tissue and noise have peaks instead
        if drawn and colour >= least and (0.12 <= inside.mean() <= 0.95 or width <= 3):
            found.append(_Shape(area[0].start, area[0].stop, area[1].start, area[1].stop, colour))
    return found


def _opened(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Without what is bright and narrower than a stroke: a grey opening with a square."""
    for extreme in (np.minimum, np.maximum):
        grey = np.pad(grey, _STROKE // 2, mode="edge")
        reached = 1
        while reached < _STROKE:  # of each pixel's neighbours, in steps that double
            step = min(reached, _STROKE - reached)
            rows = extreme(grey[:-step], grey[step:])
            grey = extreme(rows[:, :-step], rows[:, step:])
            reached += step
    return grey


def _has_line(shapes: list[_Shape], same: float) -> bool:
    """Whether some of them stand side by side, as high as each other and on one line."""
    shapes = sorted(shapes, key=lambda shape: shape.bottom)
    bottoms = [shape.bottom for shape in shapes]
    for first in shapes:
        slack = _slack(first)
        near = shapes[
            bisect_left(bottoms, first.bottom - slack) : bisect_right(bottoms, first.bottom + slack)
        ]
        line = sorted((other for other in near if _alike(first, other, same)), key=lambda shape: shape.left)
        run = 1
        for before, after in pairwise(line):
            gap = after.left - before.right
            run = run + 1 if 0 <= gap <= 1.2 * first.height else 1
            if run >= _LETTERS:
                return True
    return False


def _slack(shape: _Shape) -> float:
    """How far the feet of letters on one line are apart, in pixels."""
    return max(1.0, 0.2 * shape.height)


def _alike(one: _Shape, other: _Shape, same: float) -> bool:
    """Whether both may be letters of one word: as high, and of one colour."""
    return abs(one.top - other.top) <= max(1.0, 0.4 * one.height) and abs(one.colour - other.colour) <= same
