"""Which studies somebody names on the command line; errors tell how many there are, and never which."""

import csv
from datetime import datetime
from pathlib import Path

from client_app.data.pacs.source import MOST_STUDIES, Query, Wanted
from federation.errors import ConfigError, DataError


def wanted(accessions: Path | None, studies: Path | None, query: Query | None) -> Wanted | None:
    """What is asked of the archive; None where nothing is named, which is all of the cohort.

    Args:
        accessions: a file of accession numbers.
        studies: a file of Study Instance UIDs.
        query: what an archive can look for.

    Raises:
        ConfigError: several of them are given; or an identifier is none, or could be several.
        DataError: a file cannot be read, or has nothing in it.
    """
    given = {"--accessions": accessions, "--studies": studies, "--modality": query}
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise ConfigError(f"{' and '.join(names)} are given; give one of them")
    if not names:
        return None
    return Wanted(
        accessions=identifiers_in(accessions) if accessions else (),
        studies=identifiers_in(studies) if studies else (),
        query=query,
    )


def query(
    modality: str | None, since: datetime | None, until: datetime | None, description: str | None
) -> Query | None:
    """The query that the options come to; None where none of them is given.

    Raises:
        ConfigError: one is missing, or is none.
    """
    if modality is None and since is None and until is None and description is None:
        return None
    if modality is None or since is None or until is None:
        needed = {"--modality": modality, "--since": since, "--until": until}
        lacking = " and ".join(name for name, value in needed.items() if value is None)
        raise ConfigError(f"--modality, --since and --until belong together; give {lacking} too")
    # Only what is in the cohort is fetched, so that many may match.
    return Query(modality, since.date(), until.date(), description or "", at_most=MOST_STUDIES)


def identifiers_in(file: Path) -> tuple[str, ...]:
    """One a line, or the first column of a CSV without a heading; empty lines do not count.

    Raises:
        DataError: the file cannot be read, or has nothing in it.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
        delimiter = ";" if ";" in text.partition("\n")[0] else ","
        rows = list(csv.reader(text.splitlines(), delimiter=delimiter, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file} cannot be read as lines of UTF-8 ({type(error).__name__})") from None
    found = tuple(row[0].strip() for row in rows if any(map(str.strip, row)))
    if not found:
        raise DataError(f"{file} names nothing; give an identifier a line")
    return found
