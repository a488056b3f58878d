"""A hospital's list of patients as a CSV file; errors tell lines, and never what stands in them."""

import csv
import re
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from federation.errors import DataError

_COLUMN = "patient"
_STDIN = Path("-")
_MOST_LINES = 10  # that are told
# What spreadsheets make of a long number, and what people write to keep them from it: nobody is called so.
_OF_A_SPREADSHEET = re.compile(r"[='].*|\d([.,]\d+)?[Ee]\+\d+|#+|#[A-Z/0?!]+", re.DOTALL)


def in_lines(lines: Sequence[int]) -> str:
    """Where in a list something stands, for people; of many the first."""
    more = len(lines) - _MOST_LINES
    return f"line {', '.join(map(str, lines[:_MOST_LINES]))}{f' and {more} more' if more > 0 else ''}"


def patients_in(path: Path) -> tuple[str, ...]:
    """As ``patient_lines``, without the lines."""
    return tuple(patient for _, patient in patient_lines(path))


def patient_lines(path: Path, *, headed: bool = True) -> tuple[tuple[int, str], ...]:
    """The patients in the column ``patient``, in any case, of a CSV file with commas or semicolons, in UTF-8.

    Args:
        path: of the file; ``-`` is standard input.
        headed: whether the first line has to name the columns, also where there is one only.

    Returns:
        Each with the number of the line, which is 1 for the first.

    Raises:
        DataError: the file cannot be read, has no such column, or a line has nobody in it, or what a
            spreadsheet has made of a number; or the first line is not to be a heading, and has no digit.
    """
    name = "standard input" if path == _STDIN else str(path)
    text = _text_of(path, name)
    if headed and not text.strip():
        raise DataError(f"{name} is empty; its first line has to be {_COLUMN}")
    lines = text.splitlines(keepends=True)
    rows = csv.reader(lines, delimiter=";" if ";" in "".join(lines[:1]) else ",", strict=True)
    try:
        heading = next(rows, [])
        columns = [cell.strip().lower() for cell in heading]
        bare = not headed and len(columns) < 2 and columns != [_COLUMN]
        if bare:
            columns = [_COLUMN]
        elif columns.count(_COLUMN) != 1:
            raise DataError(f"{name}, line 1: it names the columns, and one of them must be {_COLUMN}")
        place = columns.index(_COLUMN)
        patients: list[tuple[int, str]] = []
        for row in chain([heading] if bare else [], rows):
            if not row:  # an empty line
                continue
            if len(row) != len(columns) or not row[place].strip():
                raise DataError(f"{name}, line {rows.line_num}: no {_COLUMN}, or not {len(columns)} columns")
            if _OF_A_SPREADSHEET.fullmatch(row[place].strip()):
                raise DataError(
                    f"{name}, line {rows.line_num}: a spreadsheet has changed the number that stood there; "
                    "have it hold the column as text, and save it again"
                )
            if bare and not patients and not any(map(str.isdigit, row[place])):
                raise DataError(
                    f"{name}, line {rows.line_num} looks like a heading; name it {_COLUMN}, or, if it is a "
                    "number, put such a line above it"
                )
            patients.append((rows.line_num, row[place].strip()))
    except csv.Error:
        raise DataError(f"{name}, line {rows.line_num}: this is no CSV; see to its quotes") from None
    return tuple(patients)


def _text_of(path: Path, name: str) -> str:
    try:
        # Python has none where the shell has closed it.
        content = path.read_bytes() if path != _STDIN else sys.stdin.buffer.read() if sys.stdin else b""
        return content.decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{name} cannot be read ({error.strerror}); see to its path and rights") from error
    except UnicodeDecodeError:
        raise DataError(f"{name} is no UTF-8; save it as CSV UTF-8") from None
