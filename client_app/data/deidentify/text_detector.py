"""Whether there may be text in an image: rows of small, sharp, evenly bright shapes, as letters are.

It is simple, and honest about that. It finds text of one line with at least four separate letters, 5 to 64
pixels high, upright, horizontal, lighter or darker than what is around it by a quarter of the image's range.
It does not find handwriting, slanted or vertical text, fewer letters, letters that touch, faint or very large
ones; what it lets pass is no proof. What it finds may be a ruler or a row of markers instead.
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
_NOISE = 2.5  # times what an opening takes away from an image that is noise
_STROKE = 13  # pixels: what is wider is no stroke of a letter


@dataclass(frozen=True)
class _Shape:
    top: int
    bottom: int
    left: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top


def looks_like_text(image: NDArray[np.generic]) -> bool:
    """Whether ``image`` ``[rows, columns]`` or ``[rows, columns, 3]`` may have text in it."""
    values = np.nan_to_num(image.astype(np.float32))
    grey = values if values.ndim == 2 else values.max(axis=-1)
    if min(grey.shape) < _HEIGHTS[0]:
        return False
    low, high = np.percentile(grey[::2, ::2], (1, 99.9))
    spread = max(float(high - low), float(grey.max() - low) * _CONTRAST)
    if spread <= 0:
        return False
    return any(_has_line(_letters(each, spread)) for each in (grey, -grey))


def _letters(grey: NDArray[np.float32], spread: float) -> list[_Shape]:
    """Shapes brighter than their surroundings that could each be a letter."""
    strokes = grey - _opened(grey)
    level = max(_CONTRAST * spread, _NOISE * float(np.median(strokes[::3, ::3])))
    labels, count = ndimage.label(strokes > level, structure=np.ones((3, 3)))
    found = []
    for label, area in enumerate(ndimage.find_objects(labels), start=1):
        shape = _Shape(area[0].start, area[0].stop, area[1].start, area[1].stop)
        width = shape.right - shape.left
        if not (_HEIGHTS[0] <= shape.height <= _HEIGHTS[1] and 1 <= width <= 1.6 * shape.height):
            continue
        inside = labels[area] == label
        if 0.12 <= inside.mean() <= 0.95 or width <= 3:
            levels = grey[area][inside]
            near = levels >= levels.max() - 0.25 * spread
            if near.mean() >= 0.4:  # drawn with one colour, where tissue and noise have peaks
                found.append(shape)
    return found if count else []


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


def _has_line(shapes: list[_Shape]) -> bool:
    """Whether some of them stand side by side, as high as each other and on one line."""
    shapes = sorted(shapes, key=lambda shape: shape.bottom)
    bottoms = [shape.bottom for shape in shapes]
    for first in shapes:
        slack = _slack(first)
        near = shapes[
            bisect_left(bottoms, first.bottom - slack) : bisect_right(bottoms, first.bottom + slack)
        ]
        line = sorted((other for other in near if _as_high(first, other)), key=lambda shape: shape.left)
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


def _as_high(one: _Shape, other: _Shape) -> bool:
    return abs(one.top - other.top) <= max(1.0, 0.4 * one.height)
