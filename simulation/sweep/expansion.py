"""From the settings of a sweep to those of its runs, with Hydra's own grammar for several values."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import product

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException

from federation.config import CONF
from federation.errors import ConfigError

Settings = Mapping[str, str]

# A sweep decides these by itself, or they make no sense for more than one run.
_NEVER_SWEPT = ("run_dir", "resume", "progress")
_LONGEST = 120  # characters of a folder's name, well below what file systems take


def refuse_sweep(overrides: Sequence[str]) -> None:
    """Say what to do about several values where one is expected.

    Raises:
        ConfigError: an override has several values.
    """
    # Whoever composes the overrides says what is wrong with those that cannot be parsed.
    with suppress(HydraException):
        for override in OverridesParser.create().parse_overrides(list(overrides)):
            if override.is_sweep_override():
                raise ConfigError(
                    f"{override.input_line} has several values; --multirun runs each of them "
                    f"(a value that is itself a list stands in brackets, as in [1,2])"
                )


def expand(overrides: Sequence[str]) -> list[tuple[Settings, tuple[str, ...]]]:
    """Every run of a sweep: its own value of each swept setting, and all of its overrides.

    The last setting changes fastest, as in Hydra. ``["seed=1,2", "rounds=3"]`` are the two runs
    ``({"seed": "1"}, ("seed=1", "rounds=3"))`` and ``({"seed": "2"}, ("seed=2", "rounds=3"))``.

    Raises:
        ConfigError: an override is no override, or is one that cannot be swept.
    """
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        # Whoever says something twice means the second, as for a single run.
        keys = [override.get_key_element() for override in parsed]
        last = [override for place, override in enumerate(parsed) if keys[place] not in keys[place + 1 :]]
        choices = [list(_choices(override)) for override in last]
    except HydraException as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"configuration {list(overrides)}: {reason}; settings are KEY=VALUE") from error
    swept = {override.key_or_group for override in last if override.is_sweep_override()}
    return [
        ({key: value for key, value, _ in chosen if key in swept}, tuple(line for *_, line in chosen))
        for chosen in product(*choices)
    ]


def _choices(override: Override) -> Iterator[tuple[str, str, str]]:
    """The key, a value of it and an override that says so, for each value that ``override`` has."""
    key, line = override.key_or_group, override.input_line or ""
    if not override.is_sweep_override():
        yield key, "", line
        return
    if key in _NEVER_SWEPT:
        raise ConfigError(f"{line}: {key} cannot be swept; give it one value or none")
    values = _values(override)
    if not values:
        raise ConfigError(f"{line} has no values; give some, as in {key}=1,2")
    for value in values:
        yield key, value, f"{override.get_key_element()}={value}"


def _values(override: Override) -> list[str]:
    if override.is_interval_sweep():
        raise ConfigError(f"{override.input_line}: an interval has no end of values; give some, or range()")
    chosen: object = override.value()
    if isinstance(chosen, Glob):
        return list(
            chosen.filter(sorted(file.stem for file in (CONF / override.key_or_group).glob("*.yaml")))
        )
    return list(override.sweep_string_iterator())


def brief(keys: Sequence[str]) -> dict[str, str]:
    """The last part of each key, where no two keys share it: ``epsilon`` for ``privacy.epsilon``."""
    last = [key.rsplit(".", 1)[-1] for key in keys]
    return {key: part if last.count(part) == 1 else key for key, part in zip(keys, last, strict=True)}


def folder_names(runs: Sequence[Settings]) -> list[str]:
    """A folder's name for each run, made of what tells it apart: ``epsilon=1,federation=simulation_4``."""
    names: list[str] = []
    for settings in runs:
        short = brief(list(settings))
        told = ",".join(f"{short[key]}={value}" for key, value in settings.items()) or "as-set"
        name = re.sub(r"[^\w.,=+-]", "_", told, flags=re.ASCII)[:_LONGEST]
        # Two values may look alike once their unusual characters are gone.
        names.append(name if name not in names else f"{name}-{len(names) + 1}")
    return names
