"""Which code rendered a patch: part of the cache's key, so that nothing stale survives a change."""

from functools import lru_cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

_LIBRARIES = ("numpy", "pillow", "pylidc", "scipy")


@lru_cache(maxsize=1)
def code_version() -> str:
    """SHA-256 over this package's source and the versions of the libraries it draws with."""
    digest = sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    for library in _LIBRARIES:
        digest.update(f"{library}=={version(library)}".encode())
    return digest.hexdigest()
