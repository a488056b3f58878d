"""``report.html`` of a sweep: every run beside the others, on one page that asks the network for nothing."""

from pathlib import Path

from federation.files import write_whole
from federation.page import template_of
from simulation.sweep import figures, text
from simulation.sweep.record import SweepRecord
from simulation.sweep.template import PAGE
from simulation.sweep.words import headings


def write_sweep_report(folder: Path, record: SweepRecord) -> Path:
    """Write ``report.html`` beside the runs' folders, whole or not at all.

    Raises:
        StorageError: the disk did not take the page.
    """
    page = folder / "report.html"
    reports = {job.folder for job in record.jobs if (folder / job.folder / "report.html").exists()}
    write_whole(page, render(record, reports).encode())
    return page


def render(record: SweepRecord, reports: set[str]) -> str:
    """The page as HTML; it links to the runs in ``reports``."""
    series = figures.series_of(record)
    curve = figures.epsilon_varies(record)
    measured = [job.measured for job in record.jobs]
    notes = text.notes(record, series)
    return template_of(PAGE).render(
        record=record,
        title=" / ".join(record.titles),
        headline=text.headline(record, series),
        facts=text.facts(record),
        alarms=[note for note in notes if note.kind == "alarm"],
        notes=[note for note in notes if note.kind == "plain"],
        curve=figures.epsilon_against_auc(series) if curve else None,
        dots=None if curve else figures.side_by_side(record),
        seeds=figures.averaged(record),
        several=len(series) > 1,
        keys=headings(record),
        alike=text.settings_of_all(record),
        stratum=next((part.stratum.label for part in measured if part and part.stratum), ""),
        reports=reports,
        promised=text.promised,
    )
