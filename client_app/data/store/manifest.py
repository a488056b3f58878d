"""The manifest as SQLite: what may be written into it, held by the database itself."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from client_app.sqlite import PATIENCE, make_file, transaction
from federation.errors import DataError, StorageError
from federation.site_store import LAYOUT, MANIFEST

_TABLES = """
CREATE TABLE series (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    series TEXT NOT NULL,
    patient TEXT NOT NULL,
    digest TEXT NOT NULL CHECK (length(digest) = 64),
    modality TEXT NOT NULL,
    spacing TEXT NOT NULL,
    shape TEXT NOT NULL,
    directions TEXT NOT NULL,
    facts TEXT NOT NULL,
    features TEXT NOT NULL,
    provenance TEXT NOT NULL,
    added TEXT NOT NULL,
    withdrawn TEXT,
    reason TEXT
) STRICT;
CREATE UNIQUE INDEX a_series_once ON series (series) WHERE withdrawn IS NULL;
CREATE UNIQUE INDEX an_array_once ON series (digest) WHERE withdrawn IS NULL;
CREATE INDEX by_patient ON series (patient);
CREATE TABLE withdrawn (patient TEXT PRIMARY KEY, at TEXT NOT NULL, reason TEXT NOT NULL) STRICT;
CREATE TABLE sealed (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    version TEXT NOT NULL,
    at TEXT NOT NULL,
    series INTEGER NOT NULL,
    patients INTEGER NOT NULL
) STRICT;
CREATE TABLE consent_asked (at TEXT NOT NULL) STRICT;
CREATE TABLE owner (fingerprint TEXT NOT NULL) STRICT;
"""
_APPEND_ONLY = """
CREATE TRIGGER series_stay BEFORE DELETE ON series
    BEGIN SELECT RAISE(ABORT, 'series are append-only'); END;
CREATE TRIGGER series_are_only_withdrawn BEFORE UPDATE ON series
    WHEN OLD.withdrawn IS NOT NULL OR NEW.withdrawn IS NULL
        OR NEW.facts <> '{}' OR NEW.features <> '{}' OR NEW.provenance <> '{}'
        OR NEW.number <> OLD.number OR NEW.series <> OLD.series OR NEW.patient <> OLD.patient
        OR NEW.digest <> OLD.digest
    BEGIN SELECT RAISE(ABORT, 'series are append-only'); END;
CREATE TRIGGER withdrawals_stay BEFORE DELETE ON withdrawn
    BEGIN SELECT RAISE(ABORT, 'withdrawals are append-only'); END;
CREATE TRIGGER withdrawals_do_not_change BEFORE UPDATE ON withdrawn
    BEGIN SELECT RAISE(ABORT, 'withdrawals are append-only'); END;
"""


class Manifest:
    """The file, written.

    What was committed survives a power cut (``synchronous=FULL``), and what is overwritten is zeroed in the
    file (``secure_delete``), so that the facts of somebody who withdrew are not left in free pages.

    Args:
        folder: of the store; made if there is none.

    Raises:
        DataError: it is damaged, no manifest, or another release's.
        StorageError: the disk does not take it.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / MANIFEST
        with self._told():
            make_file(self.path, 0o640)
            self._connection = sqlite3.connect(
                self.path, timeout=PATIENCE, isolation_level=None, check_same_thread=False
            )
            for setting in ("journal_mode=DELETE", "synchronous=FULL", "secure_delete=ON"):
                self._connection.execute(f"PRAGMA {setting}")
        self._prepare()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that no other process writes beside; on disk when the ``with`` block has ended."""
        with self._told(), transaction(self._connection):
            yield self._connection

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _prepare(self) -> None:
        with self.writing() as rows:
            (layout,) = rows.execute("PRAGMA user_version").fetchone()
            if layout not in (0, LAYOUT):
                raise DataError(
                    f"{self.path} is of layout {layout}, this release writes {LAYOUT}; install its release"
                )
            if layout == 0:
                for statement in _statements(_TABLES + _APPEND_ONLY):
                    rows.execute(statement)
                rows.execute(f"PRAGMA user_version = {LAYOUT}")

    @contextmanager
    def _told(self) -> Iterator[None]:
        """SQLite's errors as ours."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise StorageError(f"{self.path}: {error}; free space or rights, and run again") from error
        except sqlite3.DatabaseError as error:
            raise DataError(f"{self.path}: {error}; restore the newest copy") from error


def integrity(path: Path) -> list[str]:
    """What SQLite finds wrong with the file, looking at every page; reads only."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
    except sqlite3.DatabaseError as error:
        return [str(error)]
    return [] if found == ["ok"] else found


def _statements(script: str) -> Iterator[str]:
    """The statements of a script, one by one: ``executescript`` would commit what is open."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
