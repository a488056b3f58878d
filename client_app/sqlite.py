"""What the hospital's SQLite files have in common."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection

from federation.errors import StorageError
from federation.files import make_folder, sync_folder

PATIENCE = 60.0
"""Seconds to wait for another process's transaction."""


def make_file(path: Path, mode: int) -> None:
    """An empty file of these rights, if there is none, whose name survives a power cut.

    Raises:
        StorageError: the disk does not take it.
    """
    try:
        make_folder(path.parent)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, mode))
        sync_folder(path.parent)
    except OSError as error:
        raise StorageError(f"{path} cannot be made ({error.strerror}); mend the folder's rights") from error


@contextmanager
def transaction(connection: Connection) -> Iterator[Connection]:
    """What is done in the ``with`` block, wholly or not at all; no other process writes meanwhile."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
