"""Marks that several figures share: a score with its interval, a site's path, names at the ends of lines."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from federation.page.style import MODEL, PAPER, short, site_look, spread
from server_app.record import Measurement, Stratum

Path = Sequence[tuple[float, float]]


def dot(
    axes: Axes,
    at: tuple[float, float],
    colour: str,
    marker: str = "o",
    *,
    size: float = 8.0,
    hollow: bool = False,
) -> None:
    """One score; the rim in the paper's colour keeps overlapping marks apart."""
    axes.plot(
        *at,
        marker,
        color=PAPER if hollow else colour,
        markeredgecolor=colour if hollow else PAPER,
        markeredgewidth=1.4 if hollow else 1.0,
        markersize=size - 2 if hollow else size,
        zorder=4,
    )


def score_across(
    axes: Axes, y: float, measured: Measurement | Stratum, colour: str, marker: str, *, hollow: bool = False
) -> None:
    """An AUC on the horizontal axis, its 95 % interval as a bar; nothing where it was not measurable."""
    if measured.auc is None:
        return
    if measured.auc_interval is not None:
        axes.plot(measured.auc_interval, (y, y), color=colour, linewidth=1.2 if hollow else 2.2, zorder=3)
    dot(axes, (measured.auc, y), colour, marker, hollow=hollow)


def score_upright(axes: Axes, x: float, measured: Measurement, colour: str, marker: str) -> None:
    """An AUC on the vertical axis, its 95 % interval as a bar."""
    if measured.auc is None:
        return
    if measured.auc_interval is not None:
        axes.plot((x, x), measured.auc_interval, color=colour, linewidth=2.2, zorder=3)
    dot(axes, (x, measured.auc), colour, marker, size=7.5)


def site_paths(
    axes: Axes, paths: Mapping[str, Path], finals: Mapping[str, Path] | None = None
) -> dict[str, tuple[float, float]]:
    """Each site's thin line; its marker stands at its final point if it has one, else where the line ends.

    Returns where each site's marker is.
    """
    ends = {}
    for index, (site, path) in enumerate(paths.items()):
        colour, marker = site_look(index)
        if path:
            axes.plot(*zip(*path, strict=True), color=colour, linewidth=1.1, zorder=2)
        if last := (finals or {}).get(site) or path[-1:]:
            ends[site] = last[-1]
            dot(axes, ends[site], colour, marker, size=7.0)
    return ends


def name_ends(axes: Axes, ends: Mapping[str, tuple[float, float]], sites: Sequence[str]) -> None:
    """Names right of the axes, as near as they fit to the ends they belong to.

    A name that is no site's is the model's own line; the model is never mistaken for a hospital.
    """
    low, high = axes.get_ylim()
    # 15 units of type on an axis of some 200; with many sites the type shrinks rather than leave the figure.
    gap = min(0.075, 1.0 / max(len(ends), 1))
    heights = spread([y for _, y in ends.values()], gap * (high - low), low, high)
    size = 11.0 if gap > 0.06 else 7.5
    beside = axes.get_yaxis_transform()
    for name, height in zip(ends, heights, strict=True):
        text = axes.text(1.07, height, short(name), transform=beside, va="center", fontsize=size)
        if name not in sites:
            text.set(color=MODEL, weight="bold")
            continue
        colour, marker = site_look(sites.index(name))
        axes.plot(1.04, height, marker, color=colour, markersize=5, transform=beside, clip_on=False)


def known(points: Sequence[tuple[float, float | None]]) -> list[tuple[float, float]]:
    """The points that have a score."""
    return [(x, y) for x, y in points if y is not None and math.isfinite(y)]
