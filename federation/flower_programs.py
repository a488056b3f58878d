"""Flower's own programs, with what they need not to be told each time."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from federation.errors import RunError

# Flower tells nobody that it runs, and installs nothing by itself.
ENVIRONMENT = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
}


def quiet_flower() -> None:
    """Have Flower in this process know ``ENVIRONMENT``; before it is imported, which is when it looks."""
    os.environ.update(ENVIRONMENT)


def as_arguments(options: Mapping[str, object]) -> list[str]:
    """``["--log-file", "x"]`` for ``{"log_file": "x"}``."""
    return [text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", str(value))]


def put(function: Callable[..., Any], **names: Any) -> None:
    """Give names that ``function`` looks up in its module another meaning, for the rest of this process."""
    scope = function.__globals__
    for name, meaning in names.items():
        if name not in scope:
            raise RunError(
                f"{scope['__name__']} of this flwr has no {name}; install the version that is pinned"
            )
        scope[name] = meaning
