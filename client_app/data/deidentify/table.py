"""DICOM PS3.15 Table E.1-1: what the standard says is done with each attribute that may identify somebody.

``table.csv`` has its 655 rows of edition 2026c for the Basic Profile, and the columns of the two options that
are taken here, of edition 2025b; of the rows that came in between none is a date or a patient characteristic.
The row for private attributes is no line of the file but a rule (``rules.decide``).
"""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

EDITION = "PS3.15 Table E.1-1, 2026c"


@dataclass(frozen=True)
class Row:
    """One attribute.

    Attributes:
        tag: eight hex digits in capitals; an ``x`` stands for any.
        keyword: its name in PS3.6.
        basic: the Basic Profile's action codes, e.g. ``"X/Z/D"``.
        dates: ``"C"`` where Retain Longitudinal Temporal Information with Modified Dates says otherwise.
        patient: ``"K"`` or ``"C"`` where Retain Patient Characteristics says otherwise.
    """

    tag: str
    keyword: str
    basic: str
    dates: str
    patient: str


def row_of(tag: int) -> Row | None:
    """What the table says of ``tag``, or None."""
    digits = f"{tag:08X}"
    return rows().get(digits) or next((row for row in _repeating() if _fits(digits, row.tag)), None)


@cache
def rows() -> dict[str, Row]:
    """The whole table, by tag."""
    _, *lines = csv.reader((files(__package__) / "table.csv").read_text("ascii").splitlines())
    return {tag.replace(",", ""): Row(tag.replace(",", ""), *rest) for tag, *rest in lines}


@cache
def _repeating() -> tuple[Row, ...]:
    return tuple(row for row in rows().values() if "x" in row.tag)


def _fits(digits: str, pattern: str) -> bool:
    return all(of in ("x", digit) for digit, of in zip(digits, pattern, strict=True))
