"""The figure of the ledger's page, as inline SVG."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import accumulate

import matplotlib as mpl
from matplotlib.axes import Axes

from client_app.books.statement import Moment, Statement, StudyAccount
from federation.command_line import printable
from federation.page.numbers import cost
from federation.page.style import ALARM, GRID, INK, MODEL, MUTED, blank, drawing, short, to_svg

_LANE = 0.085  # of the plot's height, for one row of studies' names
_LEAST_SPAN = 0.006  # of the plot's width, so that a study of an hour is still seen among years
_NAME = 0.022  # of the plot's width, for a letter of a name


def spent_over_time(statement: Statement) -> str | None:
    """ε of the patient who has given most and of the one in the middle, under the cap; studies are shaded.

    None where nothing was ever charged.
    """
    moments = [moment for moment in statement.history if math.isfinite(moment.most)]
    if not moments:
        return None
    cap = statement.policy.lifetime.epsilon
    begin, end = _times(statement, moments)
    with drawing(), mpl.rc_context({"date.converter": "concise"}):
        figure, axes = blank(3.8)
        axes.xaxis_date()
        lanes = _draw_studies(axes, statement.studies, begin, end)
        axes.axhline(cap, color=INK, linewidth=1.4)
        axes.annotate(
            f"the cap, ε = {cost(cap)}", (1, cap), (-4, 4), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha="right",
        )  # fmt: skip
        for name, colour, style, heights in (
            ("whoever has given most", ALARM, "-", [moment.most for moment in moments]),
            ("the patient in the middle", MODEL, (0, (5, 2)), [moment.median for moment in moments]),
        ):
            times = list(accumulate((_day(time) for time in (begin, *(m.time for m in moments), end)), max))
            axes.step(
                times, [0.0, *heights, heights[-1]], where="post", color=colour, linestyle=style,
                linewidth=2.2, label=name, zorder=3,
            )  # fmt: skip
        top = max(cap, *(moment.most for moment in moments)) * 1.12
        axes.set(xlim=(_day(begin), _day(end)), ylim=(0, top / (1 - _LANE * lanes)))
        axes.set_yticks([tick for tick in axes.get_yticks() if tick <= top])
        axes.set_ylabel("ε given so far")
        axes.grid(axis="y")
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
        last = moments[-1]
        told = (
            f"Of the cap of {cost(cap)}, whoever has given most has given {cost(last.most)}, the patient in "
            f"the middle {cost(last.median)}."
        )
        return to_svg(figure, "spent-over-time", told)


def _times(statement: Statement, moments: Sequence[Moment]) -> tuple[datetime, datetime]:
    """From the first study to now, with some air."""
    starts = [each.started for each in statement.studies if each.started is not None]
    begin, end = min([*starts, moments[0].time]), max(statement.made, moments[-1].time)
    air = max((end - begin) * 0.03, timedelta(minutes=1))
    return begin - air, end + air


def _draw_studies(axes: Axes, studies: Sequence[StudyAccount], begin: datetime, end: datetime) -> int:
    """A shade for each study and its name above, in as many rows as it takes; returns how many."""
    width = (end - begin).total_seconds()
    taken: list[float] = []  # how far each row of names is full
    drawn = sorted(
        (each.started, each.ended or end, each.proposal.study.title) for each in studies if each.started
    )
    for started, ended, title in drawn:
        left = (started - begin).total_seconds() / width
        right = max(left + _LEAST_SPAN, (ended - begin).total_seconds() / width)
        name = short(printable(title), 24)
        space = _NAME * len(name)
        place = min(left, 1 - space)  # a name that would stick out is moved in
        free = [row for row, full in enumerate(taken) if full <= place]
        row = free[0] if free else len(taken)
        taken[row:] = [place + space] if row == len(taken) else [place + space, *taken[row + 1 :]]
        height = 1 - _LANE * (row + 0.5)
        axes.axvspan(
            _day(begin + timedelta(seconds=left * width)),
            _day(begin + timedelta(seconds=right * width)),
            ymax=height - _LANE / 2, color=GRID, alpha=0.75, linewidth=0, zorder=0,
        )  # fmt: skip
        axes.text(place, height, name, transform=axes.transAxes, color=MUTED, va="center", fontsize=10)
    return len(taken)


def _day(time: datetime) -> float:
    """As matplotlib counts: days since 1970, UTC."""
    return time.timestamp() / 86400
