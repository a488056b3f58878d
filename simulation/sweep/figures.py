"""The figures of a sweep's report, and the series that they are drawn from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from matplotlib.axes import Axes

from federation.page.numbers import Interval, cost, with_interval
from federation.page.style import MODEL, blank, drawing, site_look, to_svg
from server_app.report import figures
from server_app.report.figures import Row
from server_app.report.marks import dot, name_ends
from simulation.sweep.record import JobRecord, SweepRecord
from simulation.sweep.words import words

# What a point's place in the figure already says, and what points are averaged over.
_PLACED = ("privacy.epsilon", "privacy", "privacy.mode", "seed")

_ROOM = 24  # letters beside a figure


@dataclass(frozen=True)
class Point:
    """An AUC at an ε; ``epsilon`` is None without privacy.

    ``bounds`` are the 95 % interval of a single run, or the lowest and the highest of several seeds.
    """

    epsilon: float | None
    auc: float
    bounds: Interval | None

    @property
    def place(self) -> str:
        """``"at ε = 3"`` on one line, or ``"without privacy"``."""
        return "without privacy" if self.epsilon is None else f"at ε\u00a0=\u00a0{cost(self.epsilon)}"


@dataclass(frozen=True)
class Series:
    """The points of one combination of the settings other than ε and seed, by rising ε.

    Local and distributed noise of one ε are two promises, so they make two series. ``name`` says which
    combination; it is empty where there is but one.
    """

    name: str
    points: tuple[Point, ...]


def series_of(record: SweepRecord) -> list[Series]:
    """A sweep's results as series, without the runs that have none."""
    groups: dict[str, list[JobRecord]] = {}
    for job in record.measured:
        told = (words(record, job, without=_PLACED), _noise(record, job))
        groups.setdefault(", ".join(filter(None, told)), []).append(job)
    return [Series(name, tuple(_points(jobs))) for name, jobs in groups.items()]


def _noise(record: SweepRecord, job: JobRecord) -> str:
    """Whose noise a run has, where runs differ in that."""
    alike = len({each.distributed for each in record.measured if each.epsilon is not None}) < 2
    if alike or job.epsilon is None:
        return ""
    return "distributed noise" if job.distributed else "local noise"


def _points(jobs: Sequence[JobRecord]) -> list[Point]:
    cells: dict[float, list[JobRecord]] = {}
    for job in jobs:
        cells.setdefault(math.inf if job.epsilon is None else job.epsilon, []).append(job)
    return [_point(cells[epsilon]) for epsilon in sorted(cells)]


def _point(jobs: Sequence[JobRecord]) -> Point:
    first = jobs[0]
    aucs = [job.auc for job in jobs if job.auc is not None]
    bounds = first.measured.auc_interval if first.measured else None
    return Point(first.epsilon, fmean(aucs), bounds if len(jobs) == 1 else (min(aucs), max(aucs)))


def averaged(record: SweepRecord) -> int:
    """Over how many seeds a point of the figure is the average, at most."""
    return len(record.swept.get("seed", ())) or 1


def epsilon_varies(record: SweepRecord) -> bool:
    """Whether the figure has an axis of ε: several values of it, or one beside runs without privacy."""
    found = {job.epsilon for job in record.measured}
    return len(found) > 1


def epsilon_against_auc(series: Sequence[Series]) -> str:
    """A line for each series, with bars; runs without privacy stand at the right edge."""
    values = sorted({p.epsilon for one in series for p in one.points if p.epsilon is not None})
    low, high = math.log(values[0]), math.log(values[-1])
    width = max(high - low, 1.0)
    edge = high + 0.22 * width
    ends = {}
    with drawing():
        figure, axes = blank(4.0)
        axes.grid(axis="y")
        for index, one in enumerate(series):
            colour, marker = site_look(index) if len(series) > 1 else (MODEL, "o")
            # A little apart, so that bars at the same ε do not hide each other.
            shift = 0.02 * width * (index - (len(series) - 1) / 2)
            path = [(shift + (edge if p.epsilon is None else math.log(p.epsilon)), p.auc) for p in one.points]
            line = [at for at, p in zip(path, one.points, strict=True) if p.epsilon is not None]
            axes.plot(*zip(*line, strict=True), color=colour, linewidth=1.6, zorder=2) if line else None
            for (x, y), p in zip(path, one.points, strict=True):
                if p.bounds is not None:
                    axes.plot((x, x), p.bounds, color=colour, linewidth=2.0, zorder=3)
                dot(axes, (x, y), colour, marker, size=7.5)
                if p.epsilon is None:
                    axes.axhline(y, color=colour, linestyle=(0, (2, 3)), zorder=1)
            ends[_beside_line(one)] = path[-1]
        _ticks(axes, values, edge if any(p.epsilon is None for one in series for p in one.points) else None)
        axes.set(xlabel="ε promised to each patient (smaller protects more)", ylabel="AUC on test patients")
        if len(series) > 1:
            named = {name: end for name, end in ends.items() if name}
            name_ends(axes, named, list(ends))
        return to_svg(figure, "epsilon-against-auc", f"Epsilon against AUC. {_told(series)}.")


def _beside_line(series: Series) -> str:
    """Its name, where there is little room; runs without privacy have theirs below the axis."""
    return series.name.removesuffix(" noise")


def _ticks(axes: Axes, values: Sequence[float], edge: float | None) -> None:
    """Name each ε at its logarithm, where names do not run into each other, and the edge if it is used."""
    end = math.log(values[-1])
    room = 0.07 * max(end - math.log(values[0]), 1.0)
    named = [values[-1]]
    for value in reversed(values):
        if math.log(named[-1]) - math.log(value) >= room:
            named.append(value)
    places = [math.log(value) for value in named] + ([] if edge is None else [edge])
    axes.set_xticks(places, [cost(value) for value in named] + ([] if edge is None else ["no privacy"]))


def _told(series: Sequence[Series]) -> str:
    return "; ".join(
        f"{one.name}: " * bool(one.name)
        + ", ".join(f"{p.place} {with_interval(p.auc, p.bounds)}" for p in one.points)
        for one in series
    )


def side_by_side(record: SweepRecord) -> str | None:
    """Dots and 95 % intervals of every run; None where none has an AUC."""
    rows = [
        Row("run", _beside(record, job), "model", job.measured)
        for job in record.measured
        if job.measured is not None
    ]
    return figures.comparison(rows)


def _beside(record: SweepRecord, job: JobRecord) -> str:
    """What tells the run from others, short enough to stand beside a figure if its values are."""
    told = words(record, job)
    return told if 0 < len(told) <= _ROOM else ", ".join(job.settings.values()) or "as set"
