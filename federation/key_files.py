"""Files for nobody but their owner to read, and among them keys of 32 bytes, drawn once."""

import os
import stat
import uuid
from contextlib import suppress
from pathlib import Path

from federation.errors import DataError, StorageError
from federation.files import make_folder, sync_folder

KEY_BYTES = 32


def kept_key(path: Path) -> bytes:
    """The key at ``path``; drawn from the operating system the first time, mode 0600, and never replaced.

    Raises:
        DataError: as ``read_key``.
        StorageError: it could not be written.
    """
    if not path.exists():
        try:
            make_folder(path.parent, mode=0o700)
            _draw(path)
        except OSError as error:
            raise StorageError(
                f"the key {path} could not be written ({error.strerror}); see to its folder and run again"
            ) from error
    return read_key(path)


def read_key(path: Path) -> bytes:
    """The key that lies at ``path``; none is made.

    Raises:
        DataError: as ``read_secret``, or it is no key.
    """
    secret = read_secret(path)
    if len(secret) != KEY_BYTES:
        raise DataError(f"{path} holds {len(secret)} bytes, not {KEY_BYTES}; restore it")
    return secret


def read_secret(path: Path) -> bytes:
    """What a file holds that is for nobody but its owner to read.

    Raises:
        DataError: it is missing, or others may read it.
    """
    try:
        secret, mode = path.read_bytes(), stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); restore it") from error
    if mode & 0o077:
        raise DataError(f"{path} may be read by others (mode {mode:04o}); chmod 600 it")
    return secret


def read_password(path: Path) -> str:
    """The text in such a file, without spaces and ends of lines around it.

    Raises:
        DataError: as ``read_secret``, or there is none.
    """
    try:
        text = read_secret(path).decode().strip()
    except UnicodeDecodeError:
        raise DataError(f"{path} holds bytes that are no text; write it anew, in UTF-8") from None
    if not text:
        raise DataError(f"{path} is empty; write into it what its owner was given")
    return text


def _draw(path: Path) -> None:
    """Make a key that lies there whole or not at all; of two processes at once, one has drawn it for both."""
    scrap = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with os.fdopen(os.open(scrap, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(os.urandom(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(scrap, path)  # a rename would replace what another process reads just now
    finally:
        scrap.unlink(missing_ok=True)
    sync_folder(path.parent)
