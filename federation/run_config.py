"""What a Flower run carries into Hydra: the two keys of ``[tool.flwr.app.config]``."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from federation.errors import ConfigError


def hydra_overrides(run_config: Mapping[str, Any]) -> list[str]:
    """The Hydra overrides of a Flower run, e.g. ``["study=nodule_ct", "privacy.epsilon=3"]``.

    Raises:
        ConfigError: the quotes in ``overrides`` do not match.
    """
    try:
        return [f"study={run_config['study']}", *shlex.split(str(run_config.get("overrides", "")))]
    except KeyError as error:
        raise ConfigError(f"the run config {dict(run_config)} has no {error}; see pyproject.toml") from error
    except ValueError as error:
        raise ConfigError(f"overrides={run_config['overrides']!r}: {error}") from error


def flower_run_config(overrides: list[str]) -> dict[str, str]:
    """The run config of a Flower run that means ``overrides``; the inverse of ``hydra_overrides``."""
    study = [item.removeprefix("study=") for item in overrides if item.startswith("study=")]
    others = [item for item in overrides if not item.startswith("study=")]
    return {"study": (study or ["nodule_ct"])[-1], "overrides": shlex.join(others)}


def run_config_file(overrides: list[str]) -> str:
    """The same as the TOML of a file that ``flwr run --run-config FILE`` takes."""
    # A JSON string is a TOML string.
    return "".join(
        f"{key} = {json.dumps(value, ensure_ascii=False)}\n"
        for key, value in flower_run_config(overrides).items()
    )
