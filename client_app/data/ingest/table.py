"""A CSV of images: the columns ``file`` and ``patient``, and of each image what is known, a column a feature.

Errors tell rows and columns by their number, and never what stands in them.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from client_app.data.keys import comparable
from client_app.data.store.rows import check
from federation.errors import DataError
from federation.site_store import Fact

_OWN = ("file", "patient")
_WHOLE = re.compile(r"[+-]?[0-9]{1,15}", re.ASCII)
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,2})?", re.ASCII)
_NO_NUMBER = frozenset(["nan", "inf", "infinity"])
# What names or dates somebody is no feature: it would be in the store, which is without names.
_DATE = re.compile(r"[0-9]{1,4}[-./][0-9]{1,2}[-./][0-9]{1,4}", re.ASCII)
_LONG_NUMBER = re.compile(r"[0-9]{5}", re.ASCII)
_MOST_KINDS = 20
_FEW_KINDS = 4  # that any table may have; of more there have to be a few patients to each
_PATIENTS_A_KIND = 5
# Words in the heading of a column that is not of what was found, but of who it is.
_IDENTIFIES = frozenset(
    (
        *("name", "surname", "firstname", "lastname", "forename", "family", "given", "initials"),
        *("mrn", "pid", "id", "ssn", "nhs", "insurance", "case", "accession", "uid", "number"),
        *("birth", "birthday", "birthdate", "dob", "date", "address", "street", "zip", "postcode", "city"),
        *("phone", "email"),
    )
)
_LONGEST_TEXT = 64


@dataclass(frozen=True, repr=False)
class Row:
    """An image and what is known of it.

    Attributes:
        number: of the row, as a spreadsheet counts: the heading is 1.
        file: its name in the folder.
        patient: the hospital's number of the patient.
        features: by name; what the table leaves empty is not among them.
    """

    number: int
    file: str
    patient: str
    features: Mapping[str, Fact]


def rows_of(table: Path) -> tuple[Row, ...]:
    """The rows of a table, with commas or semicolons, in UTF-8.

    A column is of numbers where all that stands in it are numbers, else of texts, of which there are few.

    Raises:
        DataError: the table cannot be read, has no rows, lacks a column or a value, names a file twice,
            writes a patient in two ways, or has a column that may name somebody.
    """
    heading, *rows = _cells(table)
    places = {name: heading.index(name) for name in heading}
    if not rows or len(places) < len(heading) or not places.keys() >= set(_OWN):
        raise DataError(f"{table} has no rows, or not each of the columns {' and '.join(_OWN)} once")
    for name in sorted(places.keys() - set(_OWN)):
        _named_well(f"column {places[name] + 1} of {table}", name)
    for number, row in enumerate(rows, 2):
        if len(row) != len(heading) or not all(row[places[name]] for name in _OWN):
            raise DataError(
                f"row {number} of {table} lacks {' or '.join(_OWN)}, or has not {len(heading)} cells"
            )
        if not all(row[places[name]].isprintable() for name in _OWN):
            raise DataError(
                f"row {number} of {table} has signs in {' or '.join(_OWN)} that cannot be printed"
            )
    patients = [row[places["patient"]] for row in rows]
    _once(table, [row[places["file"]] for row in rows])
    _in_one_way(table, patients)
    features: list[dict[str, Fact]] = [{} for _ in rows]
    for name in sorted(places.keys() - set(_OWN)):
        where = f"column {places[name] + 1} of {table}"
        for found, value in zip(
            features, _values(where, [row[places[name]] for row in rows], patients), strict=True
        ):
            if value is not None:
                found[name] = value
    return tuple(
        Row(number, row[places["file"]], row[places["patient"]], found)
        for number, (row, found) in enumerate(zip(rows, features, strict=True), 2)
    )


def _cells(table: Path) -> list[list[str]]:
    """The heading and all rows that are not empty."""
    try:
        text = table.read_text(encoding="utf-8-sig")
        delimiter = ";" if ";" in text.partition("\n")[0] else ","
        rows = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
        return [[cell.strip() for cell in row] for row in rows if row] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table} cannot be read as a CSV in UTF-8 ({type(error).__name__})") from None


def _named_well(where: str, name: str) -> None:
    if _IDENTIFIES.intersection(name.casefold().split("_")):
        raise DataError(
            f"{where} is called as what says who somebody is; leave it out, or call it after what was found"
        )
    try:
        check("0" * 16, "0", {name: 0})
    except DataError as error:
        raise DataError(f"{where}: {error}") from None


def _once(table: Path, files: Sequence[str]) -> None:
    seen: set[str] = set()
    for number, file in enumerate(files, 2):
        if file in seen:
            raise DataError(f"row {number} of {table} names a file that a row above names")
        seen.add(file)


def _in_one_way(table: Path, patients: Sequence[str]) -> None:
    """One patient under two numbers would be two patients to every study, and half protected."""
    written: dict[str, str] = {}
    for number, patient in enumerate(patients, 2):
        if written.setdefault(comparable(patient), patient) != patient:
            raise DataError(
                f"row {number} of {table} writes a patient otherwise than a row above; write one way"
            )


def _values(where: str, texts: Sequence[str], patients: Sequence[str]) -> list[Fact | None]:
    """What stands in a column of features; None where nothing does."""
    said = [text for text in texts if text]
    if any(text.casefold().lstrip("+-") in _NO_NUMBER for text in said):
        raise DataError(f"{where} has a number that is none; leave empty what is not known")
    whole = all(_WHOLE.fullmatch(text) for text in said)
    if not whole and all(_NUMBER.fullmatch(text) for text in said):
        return [float(text) if text else None for text in texts]
    kinds = len(set(said))
    crowded = kinds > _MOST_KINDS or (kinds > _FEW_KINDS and kinds * _PATIENTS_A_KIND > len(set(patients)))
    if (
        any(_DATE.search(text) or _LONG_NUMBER.search(text) for text in said)
        or (said and all(text in ("", patient) for text, patient in zip(texts, patients, strict=True)))
        or (not whole and said and (crowded or max(map(len, said)) > _LONGEST_TEXT))
    ):
        raise DataError(
            f"{where} may name patients: it has dates, whole numbers of five digits and more, more than "
            f"{_MOST_KINDS} texts, or hardly {_PATIENTS_A_KIND} patients to a text; leave it out, or write a "
            "few kinds, or a measurement as 48212.0"
        )
    return [(int(text) if whole else text) if text else None for text in texts]
