"""``federation.yaml``: what a coordinator says of itself."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator
from yaml import YAMLError, safe_load

from federation.admission import Address, Port
from federation.errors import ConfigError
from federation.schema import Frozen, validated
from federation.study import Name


class Settings(Frozen):
    """See the module.

    Attributes:
        name: the federation's.
        address: where hospitals and researchers reach the gateway, a DNS name or an IP address.
        sites_port: the gateway's for hospitals.
        control_port: the gateway's for researchers and the administrator.
        superlink: where the gateway reaches the SuperLink, ``host:port``.
        days: how long certificates are valid.
    """

    name: Name
    address: Address
    sites_port: Port = 8443
    control_port: Port = 8444
    superlink: Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]{1,253}:[0-9]{1,5}$")] = "superlink:8000"
    days: Annotated[int, Field(ge=1, le=825)] = 365

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.sites_port == self.control_port:
            raise ValueError(f"sites_port and control_port are both {self.sites_port}; give each its own")
        return self

    @property
    def inside(self) -> tuple[str, ...]:
        """The names under which the SuperLink is reached by its gateway and its own programs."""
        return tuple(
            dict.fromkeys((self.superlink.rpartition(":")[0], "superlink", "localhost", "127.0.0.1"))
        )

    @property
    def control(self) -> str:
        """``host:port`` of the gateway for researchers and the administrator."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.control_port}"


def read_settings(file: Path) -> Settings:
    """The settings in ``file``.

    Raises:
        ConfigError: it cannot be read, or says something that is not known.
    """
    try:
        values = safe_load(file.read_bytes())
    except OSError as error:
        raise ConfigError(f"{file} cannot be read ({error.strerror}); see to it and run again") from error
    except YAMLError as error:
        raise ConfigError(f"{file}: {' '.join(str(error).split())[:300]}") from error
    try:
        return validated(Settings, values, "")
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from error
