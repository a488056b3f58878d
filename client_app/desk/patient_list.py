"""A hospital's list of patients as a CSV file; errors tell lines, and never what stands in them."""

import csv
import re
from pathlib import Path

from federation.errors import DataError

_COLUMN = "patient"
# What spreadsheets make of a long number, and what people write to keep them from it: nobody is called so.
_OF_A_SPREADSHEET = re.compile(r"[='].*|\d([.,]\d+)?[Ee]\+\d+|#+|#[A-Z/0?!]+", re.DOTALL)


def patients_in(path: Path) -> tuple[str, ...]:
    """The patients in the column ``patient`` of a CSV file, with commas or semicolons, in UTF-8.

    Raises:
        DataError: the file cannot be read, has no such column, or a line has nobody in it, or what a
            spreadsheet has made of a number.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError:
        raise DataError(f"{path} is no UTF-8; save it as CSV UTF-8") from None
    first = text.partition("\n")[0]
    rows = csv.reader(text.splitlines(keepends=True), delimiter=";" if ";" in first else ",", strict=True)
    try:
        columns = [name.strip() for name in next(rows, [])]
        if columns.count(_COLUMN) != 1:
            raise DataError(f"{path}, line 1: it names the columns, and one of them must be {_COLUMN}")
        place = columns.index(_COLUMN)
        patients = []
        for row in rows:
            if not row:  # an empty line
                continue
            if len(row) != len(columns) or not row[place].strip():
                raise DataError(f"{path}, line {rows.line_num}: no {_COLUMN}, or not {len(columns)} columns")
            if _OF_A_SPREADSHEET.fullmatch(row[place].strip()):
                raise DataError(
                    f"{path}, line {rows.line_num}: a spreadsheet has changed the number that stood there; "
                    "have it hold the column as text, and save it again"
                )
            patients.append(row[place].strip())
    except csv.Error:
        raise DataError(f"{path}, line {rows.line_num}: this is no CSV; see to its quotes") from None
    return tuple(patients)
