"""What became of each study that was wanted, so that nothing is done twice.

It knows the hospital's own numbers of patients, so that consent can be asked for again. It lies beside the
key of pseudonyms, and nothing of it goes into the store.
"""

import os
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from federation.errors import StorageError
from federation.files import make_folder, sync_folder

_TABLE = """
CREATE TABLE IF NOT EXISTS studies (
    study TEXT PRIMARY KEY, patient TEXT NOT NULL, wanted TEXT NOT NULL,
    series TEXT NOT NULL, refused TEXT NOT NULL
) STRICT
"""


@dataclass(frozen=True)
class Outcome:
    """What became of a study.

    Attributes:
        series: the pseudonyms of those in the store.
        refused: how many files or series were not taken, by rule.
    """

    series: tuple[str, ...] = ()
    refused: Mapping[str, int] = field(default_factory=dict)


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
            os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600))
            sync_folder(folder)
            self._rows = sqlite3.connect(self._path, isolation_level=None)
            self._rows.execute("PRAGMA synchronous = FULL")
            self._rows.execute(_TABLE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._rows.close()

    def is_done(self, study: str, wanted: str) -> bool:
        """Whether that was done with a study already.

        Args:
            study: its pseudonym.
            wanted: what was to be done, as a digest.
        """
        with self._told():
            found = self._rows.execute("SELECT wanted FROM studies WHERE study = ?", (study,)).fetchone()
        return bool(found == (wanted,))

    def done(self, study: str, patient: str, wanted: str, outcome: Outcome) -> None:
        """Write down what became of a study of the hospital's ``patient``."""
        rules = " ".join(f"{rule}={count}" for rule, count in sorted(outcome.refused.items()))
        with self._told():
            self._rows.execute(
                "INSERT INTO studies VALUES (?, ?, ?, ?, ?) ON CONFLICT (study) DO UPDATE SET "
                "patient = excluded.patient, wanted = excluded.wanted, series = excluded.series, "
                "refused = excluded.refused",
                (study, patient, wanted, " ".join(outcome.series), rules),
            )

    def patients(self) -> tuple[str, ...]:
        """The hospital's numbers of all patients of whom anything was asked for."""
        with self._told():
            return tuple(
                row[0] for row in self._rows.execute("SELECT DISTINCT patient FROM studies ORDER BY patient")
            )

    def refused(self) -> Counter[str]:
        """How many files and series were not taken, by rule."""
        counts: Counter[str] = Counter()
        with self._told(), closing(self._rows.execute("SELECT refused FROM studies")) as rows:
            for (rules,) in rows:
                for each in rules.split():
                    rule, _, count = each.partition("=")
                    counts[rule] += int(count)
        return counts

    def series(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Each study that was seen to, with its series in the store."""
        with self._told():
            rows = self._rows.execute("SELECT study, series FROM studies ORDER BY study").fetchall()
        return tuple((study, tuple(series.split())) for study, series in rows)

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
