"""Compose a run from ``conf/`` with Hydra and validate it once.

``./scripts/simulate study=nodule_ct privacy.epsilon=3`` and ``flwr run . --run-config 'study="nodule_ct"
overrides="privacy.epsilon=3"'`` both end here, and mean the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field

from federation.errors import ConfigError
from federation.overrides import quoted, setting_of
from federation.schema import Frozen, nearest, validated
from federation.study import Name, Study

# Settings that say where a run lies, and those that only say how it is shown.
_WHERE = ("run_dir", "resume")
_HOW_SHOWN = ("progress", "tracker")

ROSTER_FILE = "roster.json"
CONF = Path(__file__).resolve().parents[1] / "conf"


class FederationSpec(Frozen):
    """Which hospitals take part.

    Attributes:
        sites: their names; each with settings that differ from ``conf/site`` (simulation only).
        deadline: seconds a hospital has to answer one request.
        patience: seconds to wait at the start until every hospital has come, and before a round until enough
            are connected again.
    """

    name: Name
    sites: dict[Name, dict[str, Any]]
    deadline: Annotated[float, Field(gt=0)] = 600.0
    patience: Annotated[float, Field(gt=0)] = 120.0


class RunOptions(Frozen):
    """How a study is run, which changes nothing of what it computes.

    Attributes:
        engine: ``inline`` runs server and sites in one process, ``flower`` through ``flwr run``.
        run_dir: where the run's folder goes; by default ``runs/<UTC time>-<study>``.
        seed: simulation only: noise and sampling follow from it, so that a run can be repeated bit by bit.
            Without it they follow from each site's own secret.
        compare: also train every site alone and all patients pooled (simulation only).
        audit: also try the study's protection and attack the released model (simulation only).
        resume: the folder of a run that was broken off; it goes on with the settings that it was begun with.
        heads: the coordinator's book of hospitals' audit heads; by default in the run's folder, which is
            right only for simulations, whose hospitals begin anew with each run.
        roster: the federation's members (``wardround-coordinator roster``), where a study has secure sums; by
            default in the run's folder, where simulations have theirs.
        models: below which folder ``start_from`` finds its model.
        tracker: records a simulation for ``tensorboard`` or ``mlflow`` as well; see ``server_app.trackers``.
        progress: ``auto`` draws where there is a terminal, ``plain`` prints lines, ``quiet`` only the result.
    """

    engine: Literal["inline", "flower"] = "inline"
    run_dir: str | None = None
    seed: int | None = None
    compare: bool = True
    audit: bool = True
    resume: str | None = None
    heads: str | None = None
    roster: str | None = None
    models: str = "runs"
    tracker: Literal["none", "tensorboard", "mlflow"] = "none"
    progress: Literal["auto", "plain", "quiet"] = "auto"


@dataclass(frozen=True)
class RunConfig:
    """A composed and validated run.

    Attributes:
        study: what is computed.
        federation: who takes part.
        options: how it is run.
        site: the settings that simulated hospitals start from. Only the hospitals' side reads them.
        overrides: what composes this run, but for its folder.
    """

    study: Study
    federation: FederationSpec
    options: RunOptions
    site: Mapping[str, Any]
    # Two spellings of one run are equal.
    overrides: tuple[str, ...] = field(compare=False)


class Begun(Frozen):
    """``run.json``, the first file of a run: what it takes to go on with it.

    Attributes:
        overrides: as in ``RunConfig``.
        started: UTC.
        resumed: at which round it was gone on with, each time that it was broken off.
    """

    overrides: tuple[str, ...]
    started: datetime
    resumed: tuple[int, ...] = ()


def compose_run(overrides: Sequence[str] = (), conf: Path = CONF) -> RunConfig:
    """The run that ``overrides`` describe, e.g. ``["study=nodule_ct", "privacy.epsilon=3"]``.

    Args:
        overrides: of Hydra.
        conf: what they choose from.

    Raises:
        ConfigError: a key or a choice does not exist (with the nearest one that does), or a value is wrong.
    """
    overrides = _with_those_begun_with(overrides)
    with initialize_config_dir(str(conf), version_base="1.3"):
        values = _composed(overrides, conf)
    parts = set(Study.model_fields) - {"participants"}
    federation = validated(FederationSpec, values.pop("federation"), "federation")
    study = _one_step_a_round({key: values.pop(key) for key in parts & set(values)})
    site = values.pop("site")
    return RunConfig(
        study=validated(Study, {**study, "participants": tuple(federation.sites)}, ""),
        federation=federation,
        options=validated(RunOptions, values, ""),
        site=cast(Mapping[str, Any], site),
        overrides=tuple(item for item in overrides if setting_of(item) not in _WHERE),
    )


def read_begun(folder: Path) -> Begun:
    """How the run in ``folder`` was begun.

    Raises:
        ConfigError: there is no run.
    """
    try:
        return Begun.model_validate_json((folder / "run.json").read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"resume={folder} holds no run that could go on; runs/ has those there are"
        ) from error


def _with_those_begun_with(overrides: Sequence[str]) -> list[str]:
    """``overrides``; where they resume a run, with its own settings and its folder.

    Raises:
        ConfigError: there is no such run, or it would get other settings than it was begun with.
    """
    resumed = [item for item in overrides if setting_of(item) == "resume"]
    if not resumed:
        return list(overrides)
    try:
        folder = Path(str(OverridesParser.create().parse_override(resumed[-1]).value())).resolve()
    except HydraException as error:
        raise ConfigError(f"{resumed[-1]}: {str(error).splitlines()[0]}") from error
    begun = list(read_begun(folder).overrides)
    others = [item for item in overrides if setting_of(item) not in _WHERE and item not in begun]
    changed = [item for item in others if setting_of(item) not in _HOW_SHOWN]
    if changed:
        raise ConfigError(
            f"{' '.join(changed)}: a run goes on with the settings that it was begun with; for others, begin "
            "a new study with start_from=<model version>"
        )
    shown = {setting_of(item) for item in others}
    kept = [item for item in begun if setting_of(item) not in shown]
    return [*kept, *others, f"run_dir={quoted(folder)}", f"resume={quoted(folder)}"]


def run_folder(run: RunConfig, otherwise: str) -> Path:
    """The run's folder: the one it was told, or ``otherwise`` below ``runs``."""
    return Path(run.options.run_dir or Path("runs") / otherwise).absolute()


def _composed(overrides: Sequence[str], conf: Path) -> dict[str, Any]:
    """The composed configuration as plain values."""
    groups = {folder.name: folder for folder in conf.iterdir() if folder.is_dir()}
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        choices = [o.input_line for o in parsed if o.key_or_group in groups and o.input_line is not None]
        for override in parsed:
            if override.key_or_group in groups:
                _check_choice(groups[override.key_or_group], str(override.value()))
        known = compose("config", overrides=choices)
        for override in parsed:
            key = override.key_or_group
            # What a site may have does not stand in conf/federation; it is checked when the site is made.
            adds = override.is_add() or (override.is_force_add() and key.startswith("federation.sites."))
            if key not in groups and not adds:
                _check_key(key, known, groups)
        config = OmegaConf.to_container(compose("config", overrides=list(overrides)), resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ConfigError(
            f"configuration {list(overrides)}: {reason}; settings are KEY=VALUE, +KEY=VALUE for one that "
            "conf/ does not have, and a group such as model.arguments is set key by key"
        ) from error
    return cast(dict[str, Any], config)


def _one_step_a_round(study: dict[str, Any]) -> dict[str, Any]:
    """With distributed noise every step is a sum of its own; the steps of a round become rounds."""
    rounds, steps = study.get("rounds"), study["training"].get("steps")
    counted = isinstance(rounds, int) and isinstance(steps, int)
    if study["privacy"].get("mode") != "distributed" or not counted:
        return study
    return {**study, "rounds": rounds * steps, "training": {**study["training"], "steps": 1}}


def _check_choice(group: Path, choice: str) -> None:
    choices = [file.stem for file in group.glob("*.yaml")]
    if choice not in choices:
        raise ConfigError(
            f"{group.name}={choice!r} does not exist in conf/{group.name}; {nearest(choice, choices)}"
        )


def _check_key(key: str, config: DictConfig, groups: Iterable[str]) -> None:
    values = cast(dict[str, Any], OmegaConf.to_container(config, resolve=False))
    keys = list(_dotted(values))
    same_name = [known for known in keys if known.rsplit(".", 1)[-1] == key]
    parent = key.rpartition(".")[0]
    if key not in keys and parent in keys and OmegaConf.select(config, parent) is None:
        remedy = "; choose aggregation=secure" if parent == "secure_sum" else ""
        raise ConfigError(f"{key} is not a setting, since {parent} is null here{remedy}")
    if key not in keys and same_name:
        raise ConfigError(f"{key} is not a setting; did you mean {' or '.join(map(repr, same_name))}?")
    if key not in keys:
        raise ConfigError(f"{key} is not a setting; {nearest(key, {*keys, *groups})}")


def _dotted(values: Mapping[str, Any], prefix: str = "") -> Iterable[str]:
    for key, value in values.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")
