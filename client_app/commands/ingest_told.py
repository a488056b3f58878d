"""What ``wardround-site ingest`` says while it works and at its end: counts and rules, and nobody's names."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from client_app.data.ingest.consent import Asked
    from client_app.data.ingest.run import Filled, Taken, Told
    from client_app.data.opt_outs import Unmet
    from client_app.data.patience import Wait

_MOST_ROWS = 10  # of a rule that are told
_MEND = "mend the source, then run with --again"
_REMEDIES = {
    "no-such-file": "see whether FOLDER has it all, and no name leads out of it",
    "not-an-image": "save it anew as a PNG or a NIfTI, or leave it out",
    "not-dicom": "see to the file, or leave it out",
    "other-modality": "give these a table and a --modality of their own",
    "other-patient": _MEND,
    "other-study": _MEND,
    "two-patients": _MEND,
    "same-image": "name it once",
    "no-spacing": "take files that say it; --spacing is for PNGs alone",
    "no-geometry": "take files that say where their pixels lie",
    "burned-in-text": "look at it, and clean it or leave it out",
}


def many(count: int, one: str, several: str) -> str:
    """A count with its noun."""
    return f"{count} {one if count == 1 else several}"


def progress(what: str) -> "Told":
    """In a terminal a line that changes; elsewhere a line for each twentieth."""
    in_terminal = sys.stderr.isatty()

    def told(taken: "Taken") -> None:
        is_last = taken.seen == taken.of
        if in_terminal:
            click.echo(f"\r{taken.seen} of {taken.of} {what}", nl=is_last, err=True)
        elif is_last or taken.seen * 20 // taken.of > (taken.seen - 1) * 20 // taken.of:
            click.echo(f"{taken.seen} of {taken.of} {what}", err=True)

    return told


def waiting(wait: "Wait") -> None:
    """Say what is waited for."""
    _line(str(wait))


@contextmanager
def refused_rows() -> Iterator[Callable[[int, str], None]]:
    """What tells of a row by which rule it was refused: of each rule the first rows, then how many more."""
    counts: Counter[str] = Counter()

    def refused(row: int, rule: str) -> None:
        counts[rule] += 1
        if counts[rule] <= _MOST_ROWS:
            _line(f"row {row}: {rule}")

    try:
        yield refused
    finally:
        for rule, count in sorted(counts.items()):
            if count > _MOST_ROWS:
                _line(f"and {count - _MOST_ROWS} more: {rule}")


def tell(filled: "Filled", one: str, several: str) -> None:
    """Say what an ingest came to; it ends with exit code 1 where some was not taken this time.

    Args:
        filled: what it came to.
        one: what is counted, e.g. ``study``.
        several: likewise, e.g. ``studies``.
    """
    if filled.gone:
        click.echo(f"patients taken out: {_by_rule(filled.gone)}")
    _tell_unmet(filled.unmet)
    for rule, count in sorted(filled.out.items()):
        click.echo(f"out by {rule}: {many(count, 'patient', 'patients')}")
    for rule, count in sorted(filled.refused.items()):
        remedy = _REMEDIES.get(rule)
        click.echo(f"refused by {rule}: {count}{f'; {remedy}' if remedy else ''}")
    held = filled.held
    if held.left:
        click.echo(f"left the store, or replaced: {held.left} series")
    there, whose = many(held.entries, one, several), many(held.patients, "patient", "patients")
    click.echo(f"in the store: {there} of {whose}, {held.new} new")
    click.echo(f"store version {filled.version}")
    for reason, count in sorted(filled.broken.items()):
        click.echo(f"not taken this time: {count}, by {reason}; run again", err=True)
    if filled.broken:
        sys.exit(1)


def consent_told(asked: "Asked") -> None:
    """Say what came of asking again."""
    click.echo(f"asked for {many(asked.patients, 'patient', 'patients')}; taken out: {_by_rule(asked.gone)}")
    _tell_unmet(asked.unmet)


def _by_rule(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} by {rule}" for rule, count in sorted(counts.items())) or "0"


def _tell_unmet(unmet: "Unmet") -> None:
    for each in unmet.findings():
        if each.remedy:
            click.echo(f"{each.found}; {each.remedy}")


def _line(text: str) -> None:
    """A line of its own, over the one that changes."""
    click.echo(f"\r{text}" if sys.stderr.isatty() else text, err=True)
