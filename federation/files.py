"""Write a file whole or not at all; the one place of the contract that touches a disk."""

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from federation.errors import StorageError


def write_whole(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Replace ``path`` by ``content``, durably: after a crash the old file or the new one is there.

    ``mode`` says who may read it, less what the process's umask takes away.

    Raises:
        StorageError: the disk did not take it; the old file is untouched and no scrap is left.
    """
    scrap = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        make_folder(path.parent)
        with os.fdopen(os.open(scrap, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        scrap.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            scrap.unlink(missing_ok=True)
        raise StorageError(
            f"{path} could not be written ({error.strerror}); free space and run again"
        ) from error


def append_line(path: Path, line: str) -> None:
    """Append ``line`` to a journal, whole or not at all.

    Raises:
        StorageError: the disk did not take it; the journal ends where it ended before.
    """
    try:
        make_folder(path.parent)
        # Unbuffered: what the disk did not take must not be tried again when the file is closed.
        with path.open("ab", buffering=0) as file:
            end = file.tell()
            content = f"{line}\n".encode()
            try:
                while content:
                    content = content[file.write(content) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)
                raise
        if end == 0:
            sync_folder(path.parent)
    except OSError as error:
        raise StorageError(
            f"{path} could not be extended ({error.strerror}); free space, run again"
        ) from error


@contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[None]:
    """Keep every other process out that asks for the same lock; it falls when this process ends.

    Raises:
        BlockingIOError: another process has it, and ``wait`` is False.
    """
    make_folder(path.parent)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """Make ``folder``, and those above it, where they are missing; their names survive a power cut."""
    if not folder.exists():
        make_folder(folder.parent)
        folder.mkdir(mode=mode, exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` survive a power cut."""
    _sync(folder)


def sync_below(folder: Path, *, but: str) -> None:
    """Make all that lies below ``folder`` survive a power cut, but the files whose names match ``but``.

    What a process wrote that was then killed is read by the next one as if it were on disk, and may not be.

    Raises:
        StorageError: the disk does not take it.
    """
    try:
        for path in (folder, *folder.rglob("*")):
            if path.is_dir() or (path.is_file() and not path.match(but)):
                # Another process's scrap, and what is not ours, as a disk's lost+found.
                with suppress(FileNotFoundError, PermissionError):
                    _sync(path)
    except OSError as error:
        raise StorageError(f"{folder} cannot be made sure ({error}); see to the disk") from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
