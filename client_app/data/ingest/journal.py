"""What became of each study and image that was wanted, so that nothing is done twice.

It knows the hospital's own numbers of patients, so that consent can be asked for again. It lies beside the
key of pseudonyms, and nothing of it goes into the store.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from client_app.sqlite import make_file
from federation.errors import StorageError
from federation.files import make_folder

_TABLE = """
CREATE TABLE IF NOT EXISTS studies (
    study TEXT PRIMARY KEY, origin TEXT NOT NULL, patient TEXT NOT NULL, wanted TEXT NOT NULL,
    series TEXT NOT NULL, refused TEXT NOT NULL
) STRICT
"""
_NOT_DONE = ""  # no digest


@dataclass(frozen=True, repr=False)
class Entry:
    """A study, or an image of a table, that is wanted.

    Attributes:
        key: its pseudonym.
        origin: what names it: ``cohort``, or a table of a modality, e.g. ``table/DX``.
        patient: the hospital's number.
        wanted: a digest of all that decides what becomes of it.
    """

    key: str
    origin: str
    patient: str
    wanted: str


@dataclass(frozen=True)
class Outcome:
    """What became of a study.

    Attributes:
        series: the pseudonyms of those in the store.
        refused: how many files or series were not taken, by rule.
        failed: how many could not be looked at this time, by rule; then it is not done.
    """

    series: tuple[str, ...] = ()
    refused: Mapping[str, int] = field(default_factory=dict)
    failed: Mapping[str, int] = field(default_factory=dict)


class Journal:
    """See the module; one process at a time.

    Args:
        folder: of the ingest.

    Raises:
        StorageError: it cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "journal.sqlite"
        with self._told():
            make_folder(folder, 0o700)
            make_file(self._path, 0o600)
            self._rows = sqlite3.connect(self._path, isolation_level=None)
            self._rows.execute("PRAGMA synchronous = FULL")
            self._rows.execute(_TABLE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._rows.close()

    def is_done(self, entry: Entry, *, again: bool = False) -> bool:
        """Whether just that was done already; with ``again`` only where nothing of it was refused."""
        with self._told():
            found = self._rows.execute(
                "SELECT wanted, refused FROM studies WHERE study = ?", (entry.key,)
            ).fetchone()
        return found is not None and found[0] == entry.wanted and not (again and found[1])

    def begin(self, entry: Entry, series: Iterable[str]) -> None:
        """Write down which series may be in the store from now on; until it is done, it is not."""
        self._write(entry, _NOT_DONE, Outcome(tuple(sorted(series))))

    def done(self, entry: Entry, outcome: Outcome) -> None:
        """Write down what became of it; what could not be looked at is, the next time."""
        self._write(entry, _NOT_DONE if outcome.failed else entry.wanted, outcome)

    def _write(self, entry: Entry, wanted: str, outcome: Outcome) -> None:
        rules = " ".join(f"{rule}={count}" for rule, count in sorted(outcome.refused.items()))
        with self._told():
            self._rows.execute(
                "INSERT OR REPLACE INTO studies VALUES (?, ?, ?, ?, ?, ?)",
                (entry.key, entry.origin, entry.patient, wanted, " ".join(outcome.series), rules),
            )

    def patients(self) -> tuple[str, ...]:
        """The hospital's numbers of all patients of whom anything was asked for."""
        with self._told():
            return tuple(
                row[0] for row in self._rows.execute("SELECT DISTINCT patient FROM studies ORDER BY patient")
            )

    def refused(self, origin: str) -> Counter[str]:
        """How many files and series were not taken, by rule."""
        counts: Counter[str] = Counter()
        with (
            self._told(),
            closing(self._rows.execute("SELECT refused FROM studies WHERE origin = ?", (origin,))) as rows,
        ):
            for (rules,) in rows:
                for each in rules.split():
                    rule, _, count = each.partition("=")
                    counts[rule] += int(count)
        return counts

    def series(self, origin: str | None = None) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Each study that was seen to, with its series that are, or may be, in the store."""
        with self._told():
            rows = self._rows.execute(
                "SELECT study, series FROM studies WHERE origin = coalesce(?, origin) ORDER BY study",
                (origin,),
            ).fetchall()
        return tuple((study, tuple(series.split())) for study, series in rows)

    def series_of(self, study: str) -> frozenset[str]:
        """The series of a study that are, or may be, in the store."""
        with self._told():
            found = self._rows.execute("SELECT series FROM studies WHERE study = ?", (study,)).fetchone()
        return frozenset(found[0].split()) if found else frozenset()

    def undo(self, study: str) -> None:
        """What was done with a study does not hold any more; some of its series may be in the store."""
        with self._told():
            self._rows.execute("UPDATE studies SET wanted = ? WHERE study = ?", (_NOT_DONE, study))

    def forget(self, study: str) -> None:
        """A study is no longer wanted, and nothing of it is in the store."""
        with self._told():
            self._rows.execute("DELETE FROM studies WHERE study = ?", (study,))

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"{self._path}: {error}; free space or mend rights, and run again") from error
