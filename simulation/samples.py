"""What the hospitals' images look like: a contact sheet for the report, in a simulation only."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from federation.files import write_whole
from federation.study import StratumSpec, TaskSpec
from federation.tasks import Cohort, Examples

_EACH = 6  # patches of a class in a row
_GAP = 4  # pixels between them


def write_samples(path: Path, cohorts: Mapping[str, Cohort], task: TaskSpec) -> None:
    """Write the sheet as a PNG, if the task is about flat grey images; there is nothing to show otherwise."""
    if len(task.image_size) != 2 or task.channels != 1:
        return
    picture = BytesIO()
    draw_samples(cohorts, task).savefig(picture, format="png", dpi=110)
    write_whole(path, picture.getvalue())


def draw_samples(cohorts: Mapping[str, Cohort], task: TaskSpec) -> Figure:
    """A row for each hospital, a block for each class.

    The images are training examples; where the task has a stratum, at even steps of its covariate, which
    stands above each. Grey values span the whole range of the network's input, -1 to 1.

    Args:
        cohorts: by the hospitals' names.
        task: names the classes, and says whether the images are rendered.
    """
    size = (1.05 * _EACH * len(task.classes) + 1.0, 1.27 * len(cohorts) + 0.7)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(cohorts), len(task.classes), squeeze=False)
    for row, (hospital, cohort) in enumerate(cohorts.items()):
        for target, axes in enumerate(grid[row]):
            _draw_row(axes, cohort.train, target, task.stratum)
        grid[row, 0].set_ylabel(f"{hospital}\n{fill(cohort.description, 20)}", fontsize=8)
    for target, name in enumerate(task.classes):
        grid[0, target].set_title(name, fontsize=12, weight="bold", pad=18)
    figure.suptitle(_caption(task), fontsize=9)
    return figure


def _caption(task: TaskSpec) -> str:
    origin = "Rendered: drawn by a computer, not acquired by a scanner. " if task.rendered else ""
    numbers = f"Above each image: {task.stratum.covariate.replace('_', ' ')}." if task.stratum else ""
    return origin + numbers


def _draw_row(axes: Axes, examples: Examples, target: int, stratum: StratumSpec | None) -> None:
    """Some images of a class side by side."""
    height, width = examples.images.shape[2:]
    values = examples.covariates[stratum.covariate] if stratum else None
    strip = np.ones((height, _EACH * (width + _GAP) - _GAP), dtype=np.float32)  # white where nothing is
    for column, row in enumerate(_spread(examples, target, values)):
        left = column * (width + _GAP)
        strip[:, left : left + width] = examples.images[row, 0]
        if values is not None:
            axes.text(left + width / 2, -3, f"{values[row]:.0f}", fontsize=8, ha="center", va="bottom")
    axes.imshow(strip, cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_frame_on(False)


def _spread(examples: Examples, target: int, values: NDArray[np.float64] | None) -> NDArray[np.int64]:
    """Up to `_EACH` rows of a class, evenly spread from the smallest value to the largest."""
    rows = np.flatnonzero(examples.targets == target)
    if values is not None:
        rows = rows[np.argsort(values[rows], kind="stable")]
    steps = np.unique(np.linspace(0, len(rows) - 1, min(_EACH, len(rows))).round().astype(np.int64))
    return rows[steps].astype(np.int64)
