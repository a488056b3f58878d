"""A hospital's own settings: where its data is and what it allows.

They belong to the hospital. The coordinator never sends or sees them, and no study can change them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from omegaconf import OmegaConf
from pydantic import Field

from federation.config import FederationSpec
from federation.errors import ConfigError
from federation.schema import Frozen, validated
from federation.study import Name, PrivacyMode

# The ways to patients' clipped gradients; see ``client_app.training.engines``.
EngineName = Literal["book_keeping", "functional", "hooks", "ghost"]
EngineChoice = Literal["auto", "book_keeping", "functional", "hooks", "ghost"]


class SimulatedData(Frozen):
    """The hospital is one or several of the parts that a task's public data falls into.

    Attributes:
        parts: which ones, counted from 0.
        of: how many there are.
        folder: where public collections lie that are not part of a package.
    """

    parts: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
    of: Annotated[int, Field(ge=1)]
    folder: Path = Path()


class Policy(Frozen):
    """What the hospital allows; anything it does not name is refused.

    Attributes:
        tasks: the packages of the tasks that may be trained; no other package's code is even loaded.
        privacy_modes: the promises to patients that are good enough.
        maximum_epsilon: the most that one study may cost a patient.
        maximum_delta: the largest δ that ε may be stated at.
        minimum_patients: fewer training patients than this, and the hospital stays out.
    """

    tasks: tuple[str, ...]
    privacy_modes: tuple[PrivacyMode, ...]
    maximum_epsilon: Annotated[float, Field(gt=0)]
    maximum_delta: Annotated[float, Field(gt=0, lt=1)]
    minimum_patients: Annotated[int, Field(ge=1)]


class Resources(Frozen):
    """What the hospital's machine spends on training; it changes no result beyond rounding.

    Attributes:
        engine: the way to patients' clipped gradients; ``auto`` takes the one that is quickest here.
        memory_mib: MiB that the gradients of one batch's images may take.
    """

    engine: EngineChoice = "auto"
    memory_mib: Annotated[int, Field(ge=16)] = 512


class SiteConfig(Frozen):
    """One hospital.

    Attributes:
        name: as the study names it.
        data: where its patients are.
        policy: what it allows.
        declared_patients: its public cohort size, the weight of its updates and what its sums are divided by;
            a constant, never counted for a study. None is for simulations: then the count is rounded, and
            said to be taken from the data (docs/decisions/0006).
    """

    name: Name
    data: SimulatedData
    policy: Policy
    resources: Resources = Resources()
    declared_patients: Annotated[int, Field(ge=1, le=100_000_000)] | None = None


def simulated_site(federation: FederationSpec, template: Mapping[str, Any], name: str) -> SiteConfig:
    """Hospital ``name`` of a simulated federation: the template, changed by what the federation says of it.

    Where neither says which data it has, the first hospital has the first part, and so on.

    Raises:
        ConfigError: there is no such hospital, or its settings are wrong.
    """
    if name not in federation.sites:
        raise ConfigError(f"site={name!r} is not in federation {federation.name}: {list(federation.sites)}")
    names = list(federation.sites)
    share = {"data": {"parts": [names.index(name)], "of": len(names)}}
    merged = OmegaConf.merge(share, dict(template), federation.sites[name], {"name": name})
    return validated(SiteConfig, OmegaConf.to_container(merged), f"site {name}")
