"""Hydra overrides as text, ``KEY=VALUE``."""

import re
from pathlib import Path


def setting_of(override: str) -> str:
    """The setting that an override is about: ``"privacy.epsilon"`` for ``"++privacy.epsilon=3"``."""
    return override.lstrip("+~").split("=", 1)[0]


def quoted(path: Path) -> str:
    """``path`` as a value in a Hydra override."""
    # Hydra takes a backslash as it is, unless a quote follows.
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", str(path))
    return "'" + re.sub(r"(\\+)$", r"\1\1", escaped) + "'"
