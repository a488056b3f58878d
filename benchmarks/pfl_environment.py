"""An environment of its own for Apple's pfl, whose pins conflict with ours.

It sees this environment's packages, so that torch and the network are the same, and has pfl and its needs.
"""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from benchmarks.processes import FailedError
from federation.cache import cache_folder

# dp-accounting is the one of this environment: pfl pins an older one, for privacy that the job does not have.
_PACKAGES = ("pfl==0.6.0", "multiprocess==0.70.19", "dill==0.4.1", "prv-accountant==0.2.0")
_PATIENCE = 300.0  # seconds that the package registry has


def pfl_python() -> Path:
    """The interpreter of the environment, which is made the first time.

    Raises:
        FailedError: the packages cannot be had; it says why.
    """
    folder, ours = cache_folder().absolute() / "bench-pfl", sysconfig.get_path("purelib")
    python, made_of = folder / "bin" / "python", folder / "made-of"
    recipe = "\n".join((ours, *_PACKAGES))
    if made_of.exists() and made_of.read_text() == recipe:
        return python
    venv.create(folder, clear=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    (packages / "wardround.pth").write_text(f"{ours}\n")
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", *_PACKAGES]
    try:
        subprocess.run(install, check=True, capture_output=True, text=True, timeout=_PATIENCE)  # noqa: S603
    except subprocess.CalledProcessError as error:
        raise FailedError(error.stderr.strip().splitlines()[-1]) from error
    except subprocess.TimeoutExpired as error:
        raise FailedError(f"no package registry within {_PATIENCE:.0f} s") from error
    made_of.write_text(recipe)
    return python
