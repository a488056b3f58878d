"""The figures of the report: each takes data and returns an ``<svg>``, or None where there is nothing."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.ticker import MaxNLocator

from federation.against import bounded
from federation.messages import BIN_EDGES, BINS
from federation.page.numbers import cost, percent, runs, score, with_interval
from federation.page.style import ALARM, GRID, INK, MODEL, MUTED, blank, drawing, short, to_svg
from server_app.record import EvaluationLine, Guarantee, HeldOut, Measurement, RoundLine, SiteSummary
from server_app.report import odds
from server_app.report.marks import dot, known, name_ends, score_across, score_upright, site_paths


@dataclass(frozen=True)
class Row:
    """A line of the comparison.

    Attributes:
        group: lines of one group stand together.
        kind: ``"model"`` is this study's, ``"baseline"`` a trivial rule, ``"other"`` all else.
    """

    group: str
    label: str
    kind: Literal["model", "baseline", "other"]
    measured: Measurement


_LOOKS = {"model": (MODEL, "o"), "baseline": (ALARM, "s"), "other": (MUTED, "o")}


def comparison(rows: Sequence[Row]) -> str | None:
    """Dots and 95 % intervals: the model beside what it has to beat, on all test images and harder ones."""
    if not any(row.measured.auc is not None for row in rows):
        return None
    strata = [row.measured.stratum.label for row in rows if row.measured.stratum]
    heights = _heights(rows)
    with drawing():
        figure, axes = blank(0.8 + 0.34 * (heights[0] + 1.5))
        axes.set(xlim=(_floor(rows), 1.0), ylim=(-0.7, heights[0] + 1.2))
        axes.grid(axis="x")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("AUC (0.5 is a coin, 1 is perfect)")
        axes.set_yticks(heights, [short(row.label, 24) for row in rows])
        columns = [(1.09, "all"), *([(1.3, short(strata[0], 12))] if strata else [])]
        beside = axes.get_yaxis_transform()
        for x, heading in columns:
            axes.text(x, heights[0] + 0.9, heading, transform=beside, color=MUTED, ha="center", va="center")
        for row, height, tick in zip(rows, heights, axes.get_yticklabels(), strict=True):
            colour, marker = _LOOKS[row.kind]
            weight = "bold" if row.kind == "model" else "normal"
            tick.set(color=INK, weight=weight)
            harder = row.measured.stratum
            if row.kind == "baseline" and row.measured.auc is not None:
                axes.axvline(row.measured.auc, color=colour, linestyle=(0, (2, 3)), zorder=1)
            score_across(axes, height + (0.14 if harder else 0), row.measured, colour, marker)
            if harder:
                score_across(axes, height - 0.24, harder, colour, marker, hollow=True)
            texts = [score(row.measured.auc), *([score(harder.auc if harder else None)] if strata else [])]
            for (x, _), text in zip(columns, texts, strict=True):
                axes.text(x, height, text, transform=beside, ha="center", va="center", weight=weight)
        told = "; ".join(_in_words(row) for row in rows)
        return to_svg(figure, "comparison", f"AUC with 95 % intervals. {told}.")


def _heights(rows: Sequence[Row]) -> list[float]:
    """From the top down to 0; a gap between groups."""
    heights = [0.0]
    for lower, upper in zip(reversed(rows), list(reversed(rows))[1:], strict=False):
        heights.append(heights[-1] + (1.0 if lower.group == upper.group else 1.45))
    return heights[::-1]


def _floor(rows: Sequence[Row]) -> float:
    """Where the axis of scores begins: below the lowest interval, on a tenth, at a coin's 0.5 if possible."""
    scored = [part for row in rows for part in (row.measured, row.measured.stratum) if part is not None]
    lows = [part.auc_interval[0] for part in scored if part.auc_interval is not None]
    lows += [part.auc for part in scored if part.auc is not None]
    return max(0.0, math.floor(10 * (min(lows) - 0.02)) / 10)


def _in_words(row: Row) -> str:
    told = f"{row.label} {with_interval(row.measured.auc, row.measured.auc_interval)}"
    harder = row.measured.stratum
    return told + (f", {harder.label} {with_interval(harder.auc, harder.auc_interval)}" if harder else "")


def learning_curve(
    evaluations: Sequence[EvaluationLine], released: Measurement | None, sites: Sequence[str]
) -> str | None:
    """AUC by round: pooled thick, each site thin, the released model as a diamond right of the last round."""
    pooled = known([(line.round, line.pooled.auc) for line in evaluations])
    if not pooled:
        return None
    paths = {
        site: known([(line.round, line.sites[site].auc) for line in evaluations if site in line.sites])
        for site in sites
    }
    told = f"Pooled AUC: {', '.join(f'{score(auc)} after round {number:g}' for number, auc in pooled)}."
    with drawing():
        figure, axes = blank()
        axes.grid(axis="y")
        site_ends = site_paths(axes, paths)
        axes.plot(*zip(*pooled, strict=True), color=MODEL, linewidth=2.6, zorder=3)
        ends = site_ends | {"together": pooled[-1]}
        if released is not None and released.auc is not None:
            last = pooled[-1][0] + 0.09 * max(pooled[-1][0] - pooled[0][0], 2)
            score_upright(axes, last, released, MODEL, "D")
            ends["together"] = (last, released.auc)
            told += f" The released model: {with_interval(released.auc, released.auc_interval)}."
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        axes.set(xlabel="round", ylabel="AUC on test patients")
        name_ends(axes, ends, sites)
        return to_svg(figure, "learning-curve", told)


def roc_curve(
    model: Measurement | None, baselines: Mapping[str, Measurement], classes: tuple[str, str]
) -> str | None:
    """The ROC of the released model, pooled, with the baselines' beside it; the diagonal is chance.

    ``classes`` says what is called healthy and diseased here.
    """
    if model is None or model.roc is None:
        return None
    told = f"model: {with_interval(model.auc, model.auc_interval)}"
    with drawing():
        figure, axes = blank(4.4)
        axes.plot([0, 1], [0, 1], color=GRID)
        axes.annotate("a coin", (0.3, 0.3), (5, -9), textcoords="offset points", color=MUTED)
        axes.plot(*model.roc, color=MODEL, linewidth=2.6, label=told, zorder=3)
        for name, baseline in baselines.items():
            if baseline.roc is not None:
                label = f"{short(name, 24)}: {with_interval(baseline.auc, baseline.auc_interval)}"
                axes.plot(*baseline.roc, color=ALARM, linestyle=(0, (4, 2)), linewidth=1.6, label=label)
        if model.sensitivity is not None and model.specificity is not None:
            dot(axes, (1 - model.specificity, model.sensitivity), MODEL, size=10)
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        negative, positive = (short(name) for name in classes)
        axes.set(xlabel=f"false alarms among the {negative}", ylabel=f"found among the {positive}")
        axes.legend(loc="lower right", frameon=False, title="AUC (95 % interval)", alignment="left")
        return to_svg(figure, "roc", f"ROC curve. AUC of the {told}.")


def held_out(told: HeldOut | None, classes: tuple[str, str]) -> str | None:
    """How many held-out patients have which score, as the hospitals tell it, and how far noise reaches."""
    if told is None or not told.healthy:
        return None
    names = [short(name) for name in classes]
    with drawing():
        figure, axes = blank()
        axes.grid(axis="y")
        axes.axhline(0, color=MUTED, linewidth=0.8)
        if told.noise is not None:
            axes.axhspan(
                -2 * told.noise, 2 * told.noise, color=GRID, alpha=0.6, zorder=0, label="noise alone"
            )
        for counts, shift, colour, name in (
            (told.healthy, 0.28, MUTED, names[0]),
            (told.diseased, 0.72, MODEL, names[1]),
        ):
            places = [number + shift for number in range(BINS)]
            axes.bar(places, counts, width=0.4, color=colour, label=name, zorder=2)
        edges = [100 / (1 + math.exp(-edge)) for edge in BIN_EDGES]
        axes.set_xticks(range(1, BINS), [f"{edge:.{2 if edge < 99 else 4}g}" for edge in edges])
        axes.set(xlim=(0, BINS), xlabel=f"score: % sure of {names[1]}", ylabel="patients, with noise")
        axes.legend(loc="upper center", frameon=False)
        numbers = ", ".join(f"{healthy:.0f} and {diseased:.0f}" for healthy, diseased in _pairs(told))
        return to_svg(
            figure,
            "held-out",
            f"Patients {names[0]} and {names[1]} by score, from the surest no to the surest yes: {numbers}.",
        )


def _pairs(told: HeldOut) -> list[tuple[float, float]]:
    return list(zip(told.healthy, told.diseased, strict=True))


def spent_and_gained(
    rounds: Sequence[RoundLine], evaluations: Sequence[EvaluationLine], sites: Mapping[str, SiteSummary]
) -> str | None:
    """Epsilon against AUC: each site's path through the rounds to its end in the summary."""
    spent = {line.round: line.epsilon for line in rounds}
    paths, finals = {}, {}
    for site, part in sites.items():
        points = [(spent.get(line.round, {}).get(site), line.sites.get(site)) for line in evaluations]
        paths[site] = known([(paid, at.auc) for paid, at in points if paid is not None and at is not None])
        finals[site] = known([(part.epsilon, part.auc)]) if part.epsilon is not None else []
    if not any((*paths.values(), *finals.values())):
        return None
    told = "; ".join(
        f"{site}: epsilon {cost(part.epsilon)}, AUC {with_interval(part.auc, part.auc_interval)}"
        for site, part in sites.items()
    )
    with drawing():
        figure, axes = blank()
        axes.grid(axis="y")
        ends = site_paths(axes, paths, finals)
        axes.set(xlabel="ε spent per patient", ylabel="AUC on the site's test patients")
        axes.set_xlim(left=0)
        name_ends(axes, ends, tuple(sites))
        return to_svg(figure, "spent-and-gained", f"Epsilon spent against AUC. {told}.")


def attendance(rounds: Sequence[RoundLine], sites: Sequence[str]) -> str | None:
    """Sites by rounds: a filled cell took part, a cross was asked and did not; a shaded round was lost."""
    if not rounds or not sites:
        return None
    heights = range(len(sites), 0, -1)
    width = 0.86 if len(rounds) <= 40 else 1.0
    told = []
    with drawing():
        figure, axes = blank(0.8 + 0.34 * len(sites))
        for height, site in zip(heights, sites, strict=True):
            came = [line.round for line in rounds if site in line.participants]
            away = [line.round for line in rounds if site in {absence.site for absence in line.absent}]
            cells = [(number - width / 2, width) for number in came]
            axes.broken_barh(cells, (height - 0.4, 0.8), color=MODEL, alpha=0.6)
            axes.plot(away, [height] * len(away), "x", color=ALARM, markersize=9, markeredgewidth=2.4)
            told.append(f"{site} took part in {len(came)}" + (f", absent in {runs(away)}" if away else ""))
        lost = [line.round for line in rounds if line.lost]
        for number in lost:
            axes.axvspan(number - 0.5, number + 0.5, color=ALARM, alpha=0.2, linewidth=0, zorder=0)
        axes.set_yticks(heights, [short(site) for site in sites])
        for tick in axes.get_yticklabels():
            tick.set_color(INK)
        axes.set(xlim=(rounds[0].round - 0.6, rounds[-1].round + 0.6), ylim=(0.4, len(sites) + 0.6))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=11))
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.set_xlabel("round")
        nothing = f" Came to nothing: {runs(lost)}." if lost else ""
        return to_svg(figure, "attendance", f"Of {len(rounds)} rounds: {'; '.join(told)}.{nothing}")


def against(guarantees: Sequence[Guarantee]) -> str | None:
    """What the study costs a patient before each who may be looking, and what that rests on, on one axis.

    The first is the promise. None where there is no other: a sentence says that as well.
    """
    if len(guarantees) < 2:
        return None
    known = [each.epsilon for each in guarantees if each.epsilon is not None]
    end = 1.1 * max(known, default=1.0)
    sentences = [textwrap.wrap(each.assumption, 64) for each in guarantees]
    # Of each: its title, its line, its sentence, and some air.
    heights = [len(lines) + 2.9 for lines in sentences]
    with drawing():
        figure, axes = blank(0.6 + 0.185 * sum(heights))
        axes.set(xlim=(0, end), ylim=(0, sum(heights)), xlabel="ε of the whole study, per patient")
        axes.spines["left"].set_visible(False)
        axes.set_yticks([])
        beside = axes.get_yaxis_transform()
        top = sum(heights)
        for each, lines, height in zip(guarantees, sentences, heights, strict=True):
            promise = each is guarantees[0]
            colour = MODEL if promise else INK
            for x, text, side in ((0.0, each.title, "left"), (1.0, bounded(each.epsilon), "right")):
                axes.text(
                    x, top - 0.6, text, transform=beside, color=colour, weight="bold", ha=side, va="center"
                )
            reach = end if each.epsilon is None else each.epsilon
            axes.plot((0, end), (top - 1.65,) * 2, color=GRID, linewidth=0.8, zorder=1)
            axes.plot((0, reach), (top - 1.65,) * 2, color=colour, linewidth=2.2, zorder=2)
            marker = ">" if each.epsilon is None else "D" if promise else "o"
            axes.plot(reach, top - 1.65, marker, color=colour, markersize=8, zorder=3, clip_on=False)
            for number, line in enumerate(lines):
                axes.text(
                    0, top - 2.65 - number, line, transform=beside, color=MUTED, fontsize=10, va="center"
                )
            top -= height
        return to_svg(figure, "against", " ".join(_told_against(each) for each in guarantees))


def _told_against(each: Guarantee) -> str:
    told = "no bound" if each.epsilon is None else f"epsilon {cost(each.epsilon)}"
    return f"Against {each.title}: {told}. {each.assumption}"


def guessing(epsilon: float, delta: float) -> str:
    """How often a guess at one patient's presence can be right, over epsilon; this study's is marked."""
    ceiling = odds.best_guess(epsilon, delta)
    end = max(10.0, 1.25 * epsilon)
    grid = [end * step / 160 for step in range(161)]
    with drawing():
        figure, axes = blank()
        axes.axhline(0.5, color=GRID)
        axes.plot(grid, [odds.best_guess(e, delta) for e in grid], color=INK, linewidth=2.0)
        axes.plot(
            grid, [odds.gaussian_guess(e, delta) for e in grid], color=MUTED, linestyle=(0, (4, 2)), zorder=1
        )
        lower = odds.gaussian_guess(0.76 * end, delta)
        axes.annotate(
            "one release of Gaussian noise",
            (0.76 * end, lower),
            (0, -42),
            textcoords="offset points",
            color=MUTED,
            ha="center",
        )
        for mark in (1.0, 3.0):
            if abs(mark - epsilon) > 0.08 * end:
                height = odds.best_guess(mark, delta)
                dot(axes, (mark, height), INK, size=7)
                text = f"ε = {mark:g}: {percent(height)}"
                axes.annotate(text, (mark, height), (8, -11), textcoords="offset points", color=MUTED)
        dot(axes, (epsilon, ceiling), MODEL, "D", size=10)
        on_plateau = epsilon > end / 2
        axes.annotate(
            f"this study, ε = {cost(epsilon)}: {percent(ceiling)}",
            (epsilon, ceiling),
            (0, 9) if on_plateau else (9, -12),
            textcoords="offset points",
            color=MODEL,
            weight="bold",
            ha="right" if on_plateau else "left",
        )
        axes.text(end, 0.475, "a coin: 50 %", color=MUTED, ha="right", va="center")
        axes.set(xlim=(0, end), ylim=(0.44, 1.08), xlabel="ε", ylabel="right guesses, at most")
        axes.set_yticks([0.5, 0.6, 0.7, 0.8, 0.9, 1.0], ["50 %", "60 %", "70 %", "80 %", "90 %", "100 %"])
        told = f"The bound is 50 % at epsilon 0 and {percent(ceiling)} at this study's {cost(epsilon)}."
        return to_svg(figure, "guessing", told)
