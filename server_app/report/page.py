"""``report.html``: figures and sentences set into one page that asks the network for nothing."""

import base64
from collections.abc import Iterable
from pathlib import Path

from federation.files import write_whole
from federation.page import numbers, template_of
from server_app.record import RoundLine, Summary, WithoutPrivacy
from server_app.report import figures, meaning, text
from server_app.report.figures import Row
from server_app.report.reading import Run, read_run
from server_app.report.template import PAGE


def write_report(run_dir: Path) -> Path:
    """Read the record in ``run_dir`` and write ``report.html`` beside it, whole or not at all.

    The same record gives the same page, byte for byte.

    Raises:
        MessageError: the record is missing, cut off, or not what ``server_app/record.py`` says.
        StorageError: the disk did not take the page.
    """
    page = run_dir / "report.html"
    write_whole(page, render(read_run(run_dir)).encode())
    return page


def render(run: Run) -> str:
    """The page as HTML."""
    summary = run.summary
    return template_of(PAGE).render(
        run=run,
        summary=summary,
        headline=text.headline(run),
        explanation=text.explanation(summary),
        notes=text.notes(run),
        facts=text.facts(run),
        pictures=_pictures(run),
        stratum=next((row.measured.stratum.label for row in _rows(summary) if row.measured.stratum), ""),
        samples=base64.b64encode(run.samples).decode() if run.samples else "",
        class_names=text.class_names(summary),
        absences=_absences(run.rounds),
        lost_rounds=text.lost_rounds(run.rounds),
        onlooker=text.onlooker(summary),
        epsilon_in_words=meaning.epsilon_in_words(summary),
        limits=meaning.limits(run),
        noise=text.noise(summary.privacy),
        held_out=meaning.held_out(summary),
    )


def _pictures(run: Run) -> dict[str, str | None]:
    summary = run.summary
    agreed = meaning.bound(summary)
    return {
        "comparison": figures.comparison(_rows(summary)),
        "learning_curve": figures.learning_curve(run.evaluations, summary.pooled, run.sites),
        "roc": figures.roc_curve(summary.pooled, summary.baselines, text.class_names(summary)),
        "held_out": figures.held_out(summary.held_out, text.class_names(summary)),
        "spent_and_gained": figures.spent_and_gained(run.rounds, run.evaluations, summary.sites),
        "attendance": figures.attendance(run.rounds, run.sites),
        "against": figures.against(summary.privacy.guarantees),
        "guessing": figures.guessing(*agreed) if agreed else None,
    }


def _rows(summary: Summary) -> list[Row]:
    """The comparison from top to bottom: alone, together, what pooling would give, the trivial rules."""
    rows: list[Row] = []
    compared = summary.comparison
    if compared is not None:
        rows += [
            Row("alone", f"{site} alone", "other", measured) for site, measured in compared.alone.items()
        ]
    if summary.pooled is not None:
        rows.append(Row("together", "together", "model", summary.pooled))
    if compared is not None:
        rows.append(Row("pooled", "pooled", "other", compared.pooled))
        if compared.without_privacy is not None:
            rows += _rows_without_privacy(compared.without_privacy)
    if rows:
        rows += [
            Row("baseline", f"{name} alone", "baseline", measured)
            for name, measured in summary.baselines.items()
        ]
    return rows


def _rows_without_privacy(compared: WithoutPrivacy) -> list[Row]:
    others = {**compared.alone, "together": compared.together, "pooled": compared.pooled}
    return [Row("without", f"{name}, no privacy", "other", measured) for name, measured in others.items()]


def _absences(rounds: Iterable[RoundLine]) -> list[tuple[str, str, str]]:
    """(site, rounds, reason), one line for a site's absences with the same reason."""
    found: dict[tuple[str, str], list[int]] = {}
    for line in rounds:
        for absence in line.absent:
            found.setdefault((absence.site, absence.reason), []).append(line.round)
    return [(site, numbers.runs(missed), reason) for (site, reason), missed in found.items()]
