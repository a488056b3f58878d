"""What takes long to compute, kept on disk so that only the first run waits for it.

A file is a line with the SHA-256 of the rest, then an ``.npz`` archive without pickles. Files may be deleted
at any time.
"""

import io
import logging
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from federation.errors import StorageError
from federation.files import write_whole
from federation.npy import from_npz

log = logging.getLogger("wardround.cache")

Arrays = dict[str, NDArray[np.generic]]


def cached(name: str, version: str, make: Callable[[], Arrays]) -> Arrays:
    """What ``make`` returns, from the cache if it was made before under the same name and version.

    A damaged file is named in a warning and made again. A folder that cannot be written costs a warning, not
    the result. Two processes that make the same thing at once both end with a whole file.
    """
    path = cache_folder() / f"{name}-{version[:16]}.npz.checked"
    arrays = _load(path)
    if arrays is None:
        arrays = make()
        _save(path, arrays)
    return arrays


def cache_folder() -> Path:
    """Where what can be made again is kept: ``$WARDROUND_CACHE``, or ``~/.cache/wardround``."""
    chosen = os.environ.get("WARDROUND_CACHE")
    # expanduser leaves "~" as it is for a user without a home; writing there fails, and is said.
    return Path(chosen) if chosen else Path("~/.cache/wardround").expanduser()


def _load(path: Path) -> Arrays | None:
    """The arrays in a file; None when there is none or it is damaged."""
    try:
        seal, _, content = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("cache file %s cannot be read (%s); making it again", path, error)
        return None
    if sha256(content).hexdigest().encode() != seal:
        log.warning("cache file %s is damaged (its SHA-256 differs); making it again", path)
        return None
    return from_npz(content)


def _save(path: Path, arrays: Arrays) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    content = buffer.getvalue()
    try:
        write_whole(path, sha256(content).hexdigest().encode() + b"\n" + content)
    except StorageError as error:
        log.warning("not cached: %s; or set WARDROUND_CACHE to a folder that can be written", error)
