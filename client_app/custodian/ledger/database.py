"""The ledger's file: SQLite, durable at every commit, with numbered migrations.

``synchronous=FULL`` with a write-ahead log: a transaction that was committed survives a power cut, one that
was not leaves nothing. Whoever writes takes the write lock first, so that what was read before stays true.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock

from client_app.custodian.ledger.migrations import MIGRATIONS
from client_app.sqlite import PATIENCE, make_file, transaction
from federation.errors import LedgerError, StorageError

# What SQLite answers where the file is whole and only the moment is wrong.
_PASSING = ("disk is full", "disk I/O error", "locked", "readonly", "unable to open")


class Database:
    """One site's ledger file.

    Args:
        path: the file; made if there is none.
        owner: fingerprint of the key by which patients' pseudonyms are made.

    Raises:
        LedgerError: it is no ledger, or a newer release's, or was written with another key.
        StorageError: the disk does not take it.
    """

    def __init__(self, path: Path, owner: str) -> None:
        self.path = path
        self._turn = RLock()
        with self._told():
            make_file(path, 0o600)
            self._connection = sqlite3.connect(
                path, timeout=PATIENCE, isolation_level=None, check_same_thread=False
            )
            for setting in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
                self._connection.execute(f"PRAGMA {setting}")
        self._migrate()
        self._belong_to(owner)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that no other process writes beside; on disk when the ``with`` block has ended."""
        with self._turn, self._told(), transaction(self._connection):
            yield self._connection

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A view of one moment; within another one, that one's."""
        with self._turn, self._told():
            if self._connection.in_transaction:
                yield self._connection
                return
            self._connection.execute("BEGIN")
            try:
                yield self._connection
            finally:
                self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def check(self) -> None:
        """Have SQLite look at every page.

        Raises:
            LedgerError: the file is damaged, or rows point to nowhere.
        """
        with self.reading() as rows:
            found = [row[0] for row in rows.execute("PRAGMA integrity_check")]
            dangling = rows.execute("PRAGMA foreign_key_check").fetchall()
        if found != ["ok"] or dangling:
            raise LedgerError(f"{self.path} is damaged ({found[0]}); restore the newest copy")

    def _migrate(self) -> None:
        with self.writing() as rows:
            version = int(rows.execute("PRAGMA user_version").fetchone()[0])
            if version > len(MIGRATIONS):
                raise LedgerError(
                    f"{self.path} is of version {version}, this release knows {len(MIGRATIONS)}; install the "
                    "release that wrote it"
                )
            for statements in MIGRATIONS[version:]:
                for statement in statements:
                    rows.execute(statement)
            rows.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    def _belong_to(self, owner: str) -> None:
        with self.writing() as rows:
            rows.execute("INSERT INTO owner SELECT ? WHERE NOT EXISTS (SELECT 1 FROM owner)", (owner,))
            found = rows.execute("SELECT fingerprint FROM owner").fetchone()[0]
        if found != owner:
            raise LedgerError(
                f"{self.path} was written with another key for pseudonyms, so its patients could not be "
                "found again; restore the keys that belong to it"
            )

    @contextmanager
    def _told(self) -> Iterator[None]:
        """SQLite's errors as ours."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if any(words in str(error) for words in _PASSING):
                raise StorageError(f"{self.path}: {error}; free space or rights, and run again") from error
            raise LedgerError(f"{self.path}: {error}; restore the newest copy") from error
        except sqlite3.DatabaseError as error:
            raise LedgerError(f"{self.path} is no whole ledger ({error}); restore the newest copy") from error


class ReadOnlyDatabase(Database):
    """A ledger file that a custodian writes, perhaps at this moment: nothing is made, migrated or changed.

    SQLite itself keeps the connection from writing. Where no custodian has the file open there is no
    write-ahead log either, and a mere ``mode=ro`` would leave an empty one: then the file is read as
    immutable, and a reading during which it was written to is refused.

    Args:
        path: the file.

    Raises:
        LedgerError: it is no ledger, or another release's.
        StorageError: it is not there, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._turn = RLock()
        if not path.is_file():
            raise StorageError(f"{path} is not there; a custodian makes it when it first starts")
        self._alone = not path.with_name(f"{path.name}-wal").exists()
        self._as_opened = _stamp(path)
        mode = "immutable=1" if self._alone else "mode=ro"
        with self._told():
            self._connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?{mode}",
                uri=True,
                timeout=PATIENCE,
                isolation_level=None,
                check_same_thread=False,
            )
        try:
            self._require_version()
        except BaseException:
            self._connection.close()
            raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A view of one moment; within another one, that one's."""
        with super().reading() as rows:
            yield rows
        if self._alone and _stamp(self.path) != self._as_opened:
            raise StorageError(f"{self.path} was written to while it was read; run again")

    @property
    def owner(self) -> str:
        """Fingerprint of the key by which its pseudonyms were made; empty if nobody has used it yet."""
        with self.reading() as rows:
            found = rows.execute("SELECT fingerprint FROM owner").fetchone()
        return "" if found is None else str(found[0])

    def _require_version(self) -> None:
        with self.reading() as rows:
            version = int(rows.execute("PRAGMA user_version").fetchone()[0])
        if version != len(MIGRATIONS):
            raise LedgerError(
                f"{self.path} is of version {version}, this release knows {len(MIGRATIONS)}; "
                + (
                    "install the release that wrote it"
                    if version > len(MIGRATIONS)
                    else "start the custodian"
                )
            )


def _stamp(path: Path) -> tuple[int, int, int]:
    """What changes when a file is written to, or another one is put in its place."""
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
