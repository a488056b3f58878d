"""A contact sheet: what the hospitals' patches look like, for a report."""

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from federation.tasks import Cohort, Examples

_EACH = 6  # patches of a class in a row
_GAP = 4  # pixels between them


def draw_samples(cohorts: Mapping[str, Cohort], classes: Sequence[str]) -> Figure:
    """A row for each hospital, a block for each class, from the smallest lesion to the largest.

    The patches are training examples at even steps of the lesion's diameter, which stands above each in mm.
    Grey values span the whole range of the network's input (-1000 to 400 HU).

    Args:
        cohorts: by the hospitals' names.
        classes: what the targets 0, 1, ... mean.
    """
    size = (1.05 * _EACH * len(classes) + 1.0, 1.27 * len(cohorts) + 0.7)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(cohorts), len(classes), squeeze=False)
    for row, (hospital, cohort) in enumerate(cohorts.items()):
        for target, axes in enumerate(grid[row]):
            _draw_row(axes, cohort.train, target)
        grid[row, 0].set_ylabel(f"{hospital}\n{fill(cohort.description, 20)}", fontsize=8)
    for target, name in enumerate(classes):
        grid[0, target].set_title(name, fontsize=12, weight="bold", pad=18)
    figure.suptitle("Rendered from real outlines; no measured CT densities. Diameter in mm.", fontsize=9)
    return figure


def _draw_row(axes: Axes, examples: Examples, target: int) -> None:
    """Some patches of a class side by side, with the lesions' diameters above when they are known."""
    height, width = examples.images.shape[2:]
    strip = np.ones((height, _EACH * (width + _GAP) - _GAP), dtype=np.float32)  # white where nothing is
    for column, row in enumerate(_spread(examples, target)):
        left = column * (width + _GAP)
        strip[:, left : left + width] = examples.images[row, 0]
        if "diameter_mm" in examples.covariates:
            diameter = f"{examples.covariates['diameter_mm'][row]:.0f}"
            axes.text(left + width / 2, -3, diameter, fontsize=8, ha="center", va="bottom")
    axes.imshow(strip, cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_frame_on(False)


def _spread(examples: Examples, target: int) -> NDArray[np.int64]:
    """Up to `_EACH` rows of a class, evenly spread from the smallest lesion to the largest."""
    rows = np.flatnonzero(examples.targets == target)
    size = examples.covariates.get("diameter_mm", np.zeros(len(examples)))[rows]
    rows = rows[np.argsort(size, kind="stable")]
    steps = np.unique(np.linspace(0, len(rows) - 1, min(_EACH, len(rows))).round().astype(np.int64))
    return rows[steps].astype(np.int64)
