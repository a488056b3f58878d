"""``federation.yaml``: what a coordinator says of itself."""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from yaml import YAMLError, safe_load

from federation.admission import Address
from federation.errors import ConfigError
from federation.schema import validated
from federation.study import Name
from federation.tunnel.address import Address as HostAndPort
from server_app.gateway import Gateway


class Settings(Gateway):
    """See the module.

    Attributes:
        name: the federation's.
        address: where hospitals and researchers reach the gateway, a DNS name or an IP address.
        days: how long certificates are valid.
    """

    name: Name
    address: Address
    days: Annotated[int, Field(ge=1, le=825)] = 365

    @property
    def inside(self) -> tuple[str, ...]:
        """The names under which the SuperLink is reached by its gateway and its own programs."""
        return tuple(
            dict.fromkeys((self.superlink.rpartition(":")[0], "superlink", "localhost", "127.0.0.1"))
        )

    @property
    def control(self) -> str:
        """``host:port`` of the gateway for researchers and the administrator."""
        return str(HostAndPort(self.address, self.control_port))


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
