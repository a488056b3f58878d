"""A host and a port, as people write them."""

import ipaddress
from contextlib import suppress
from dataclasses import dataclass

from federation.errors import ConfigError


@dataclass(frozen=True)
class Address:
    """Where to listen, or whom to reach."""

    host: str
    port: int

    def __str__(self) -> str:
        """As it is written."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address_of(text: str) -> Address:
    """``127.0.0.1:9093`` or ``[::1]:9093``, to listen at.

    Raises:
        ConfigError: it is none.
    """
    host, _, port = text.rpartition(":")
    with suppress(ValueError):
        if port.isdecimal() and 0 <= int(port) <= 65535:
            return Address(str(ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))), int(port))
    raise ConfigError(f"--listen {text!r} is not ADDRESS:PORT, for example 127.0.0.1:9093")
