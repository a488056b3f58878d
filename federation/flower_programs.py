"""Flower's own programs, with what they need not to be told each time."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from federation.errors import ConfigError

# Flower tells nobody that it runs, and installs nothing by itself.
ENVIRONMENT = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
}


def quiet_flower() -> None:
    """Have Flower in this process know ``ENVIRONMENT``; before it is imported, which is when it looks."""
    os.environ.update(ENVIRONMENT)


def become(program: str, *flags: str, **options: object) -> NoReturn:
    """Go on as one of Flower's programs, e.g. ``become("flower-superlink", "--insecure", port=8000)``.

    Raises:
        ConfigError: it is not installed beside this Python.
    """
    path = Path(sys.executable).with_name(program)
    if not path.is_file():
        raise ConfigError(f"{path} is not there; install flwr into this environment")
    # A program of this environment, with no shell between.
    os.execve(path, [program, *flags, *as_arguments(options)], {**os.environ, **ENVIRONMENT})  # noqa: S606


def as_arguments(options: Mapping[str, object]) -> list[str]:
    """``["--log-file", "x"]`` for ``{"log_file": "x"}``."""
    return [text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", str(value))]
