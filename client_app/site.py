"""A hospital's own settings: where its data is and what it allows.

They belong to the hospital. The coordinator never sends or sees them, and no study can change them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field, model_validator
from yaml import YAMLError

from client_app.custodian.policy import Policy
from client_app.data.ingest.settings import IngestSettings
from federation.config import FederationSpec
from federation.errors import ConfigError
from federation.schema import Frozen, validated
from federation.study import Name

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
        approval: who agrees to a study: an ``operator`` to each by itself, or, in simulation only, this
            ``configuration`` to all that its policy allows.
        declared_patients: its public cohort size, the weight of its updates and what its sums are divided by;
            a constant, never counted for a study. None is for simulations: then the count is rounded, and
            said to be taken from the data (docs/decisions/0006).
        description: what sets its patients apart, as it wants it known. None is for simulations: then it is
            what the task's data say.
    """

    name: Name
    data: SimulatedData
    policy: Policy
    approval: Literal["operator", "configuration"] = "operator"
    resources: Resources = Resources()
    declared_patients: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    description: Annotated[str, Field(max_length=200)] | None = None


class Service(Frozen):
    """Where a hospital's custodian keeps its state and answers.

    Attributes:
        folder: keys, ledger, audit log and the studies' states; on a disk of its own, and backed up.
        relay: the socket for the coordinator's requests.
        admin: the socket for the hospital's own people; in a folder that the relay cannot see.
        request_seconds: the longest that one request may compute.
    """

    folder: Path
    relay: Path
    admin: Path
    request_seconds: Annotated[float, Field(gt=0)] = 3600.0

    @model_validator(mode="after")
    def _absolute(self) -> Self:
        # Elsewhere than where it was tried, a relative path would be another, empty ledger.
        for name in ("folder", "relay", "admin"):
            if not getattr(self, name).is_absolute():
                raise ValueError(f"{name}={getattr(self, name)} is relative; give the whole path, from /")
        return self

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.relay.absolute().parent == self.admin.absolute().parent:
            raise ValueError(f"relay and admin sockets are both in {self.admin.parent}; give each a folder")
        return self


class HospitalConfig(SiteConfig):
    """A real hospital: nothing of it is taken from its data, and people approve.

    Attributes:
        service: its custodian's process.
        ingest: where its store's patients come from; None where it has no store.
    """

    approval: Literal["operator"] = "operator"
    declared_patients: Annotated[int, Field(ge=1, le=100_000_000)]
    description: Annotated[str, Field(max_length=200)]
    service: Service
    ingest: IngestSettings | None = None


def hospital(file: Path) -> HospitalConfig:
    """A hospital's own ``site.yaml``, composed by Hydra, so that it can be built of several files.

    Raises:
        ConfigError: it is missing, cannot be read, or says something that is not known.
    """
    if not file.is_file():
        raise ConfigError(f"--config {file} is no file; conf/site/ has worked examples")
    try:
        with initialize_config_dir(str(file.absolute().parent), version_base="1.3"):
            values = OmegaConf.to_container(compose(file.stem), resolve=True)
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        raise ConfigError(f"{file}: {' '.join(str(error).split())[:300]}") from error
    try:
        return validated(HospitalConfig, values, "")
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from error


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
