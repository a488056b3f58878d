"""Rendered patches on disk, so that only the first run waits for them.

A file is a line with the SHA-256 of the rest, then an ``.npz`` archive; it is written beside its place and
moved there, so two processes that render the same patches both end with a whole file.
"""

import io
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

Arrays = dict[str, NDArray[np.generic]]

_LIBRARIES = ("numpy", "pillow", "pylidc", "scipy")


def folder() -> Path | None:
    """``$WARDROUND_CACHE``, or ``~/.cache/wardround``; None for a user without a home."""
    chosen = os.environ.get("WARDROUND_CACHE")
    if chosen:
        return Path(chosen)
    with suppress(RuntimeError):
        return Path.home() / ".cache" / "wardround"
    return None


def cached(name: str, make: Callable[[], Arrays]) -> Arrays:
    """What ``make`` returns, from the cache when it was made before by the same code.

    A damaged file is named in a warning and made again. A folder that cannot be written costs a warning, not
    the result. Files of the cache may be deleted at any time.
    """
    place = folder()
    if place is None:
        logger.warning("no home folder to cache %s in; set WARDROUND_CACHE to a folder", name)
        return make()
    path = place / f"{name}-{code_version()[:16]}.npz.checked"
    arrays = _load(path)
    if arrays is None:
        arrays = make()
        _save(path, arrays)
    return arrays


def code_version() -> str:
    """SHA-256 over this package's source and the libraries' versions: nothing stale survives a change."""
    digest = sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    for library in _LIBRARIES:
        digest.update(f"{library}=={version(library)}".encode())
    return digest.hexdigest()


def _load(path: Path) -> Arrays | None:
    """The arrays in a file; None when there is none or it is damaged."""
    try:
        seal, _, content = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        logger.warning("cache file %s cannot be read (%s); rendering again", path, error)
        return None
    if sha256(content).hexdigest().encode() != seal:
        logger.warning("cache file %s is damaged (its SHA-256 differs); rendering again", path)
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return dict(archive)


def _save(path: Path, arrays: Arrays) -> None:
    """Write the arrays in one move; warn when the disk does not take them."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    content = buffer.getbuffer()
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, prefix=".rendering-", delete=False) as file:
            temporary = Path(file.name)
            file.write(sha256(content).hexdigest().encode() + b"\n")
            file.write(content)
        temporary.replace(path)
    except OSError as error:
        logger.warning(
            "cache folder %s did not take %s (%s); patches will be rendered again next time; "
            "free some space or set WARDROUND_CACHE to a folder that can be written",
            path.parent,
            path.name,
            error,
        )
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
