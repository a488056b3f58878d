"""Which release of the program is installed here: what an approval is given to."""

import hashlib
from functools import lru_cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

_PACKAGES = ("client_app", "federation")
_LIBRARIES = ("monai", "numpy", "opacus", "torch", "torchvision")


@lru_cache(maxsize=32)
def installed_release(task_package: str) -> str:
    """Version and fingerprint of all that computes on patients' data, e.g. ``"0.1.0+3f2a9c0b11de"``.

    The fingerprint is SHA-256 over the source of this project's packages and of the task's, and the versions
    of the libraries that compute. The task's code is loaded, so ask only about one that the policy allows.
    """
    digest = hashlib.sha256()
    for package in (*_PACKAGES, task_package):
        home = Path(str(import_module(package).__file__))
        files = home.parent.rglob("*.py") if home.name == "__init__.py" else [home]
        for file in sorted(files):
            digest.update(file.read_bytes())
    for library in _LIBRARIES:
        digest.update(f"{library}=={version(library)}\n".encode())
    return f"{version('wardround')}+{digest.hexdigest()[:12]}"
