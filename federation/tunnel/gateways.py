"""The two tunnels that there are: a hospital's, and a researcher's."""

from pathlib import Path

from federation.admission import Connection, Kind, read_connection
from federation.errors import DataError
from federation.tunnel.address import Address, address_of
from federation.tunnel.certificates import Renewed, towards_coordinator, towards_supernode
from federation.tunnel.failures import Failures
from federation.tunnel.tunnel import Tunnel
from federation.tunnel.way_out import Proxy, proxy_of


def site_gateway(folder: Path, listen: str, proxy: Proxy | None = None) -> Tunnel:
    """From the SuperNode, inside TLS, to the coordinator's port for hospitals.

    Raises:
        ConfigError: ``listen`` is no address.
        DataError: a file of the connection's ``folder`` is missing or damaged, or they do not fit.
    """
    connection = _connection(folder, "site")
    failures = Failures()
    inside = Renewed(
        lambda: towards_supernode(folder / "inside.crt", folder / "inside.key"),
        lambda what: failures.tell("inside", what),
    )
    to = Address(connection.address, connection.port)
    return Tunnel(
        address_of(listen), to, _outside(folder, failures), inside=inside, proxy=proxy, failures=failures
    )


def researcher_tunnel(folder: Path, listen: str, proxy: Proxy | None = None) -> Tunnel:
    """From this user's programs on this machine to the coordinator's port for researchers.

    Raises:
        ConfigError: ``listen`` is not an address of this machine's own, or it cannot tell users apart.
        DataError: as ``site_gateway``.
    """
    connection = _connection(folder, "researcher")
    failures = Failures()
    to = Address(connection.address, connection.port)
    return Tunnel(
        address_of(listen), to, _outside(folder, failures), inside=None, proxy=proxy, failures=failures
    )


def proxy_from(url: str | None, password: Path | None) -> Proxy | None:
    """The proxy of the two options, if there is one.

    Raises:
        ConfigError: ``url`` is none.
        DataError: the file of the password cannot be read.
    """
    if url is None:
        return None
    try:
        words = None if password is None else password.read_text().strip("\r\n")
    except (OSError, UnicodeError) as error:
        raise DataError(f"--proxy-password {password} cannot be read; see to the file") from error
    return proxy_of(url, words)


def _connection(folder: Path, kind: Kind) -> Connection:
    file = folder / "connection.json"
    connection = read_connection(file)
    if connection.kind != kind:
        raise DataError(f"{file} is a {connection.kind}'s; this command is a {kind}'s")
    return connection


def _outside(folder: Path, failures: Failures) -> Renewed:
    return Renewed(
        lambda: towards_coordinator(folder / "coordinator.crt", folder / "client.crt", folder / "client.key"),
        lambda what: failures.tell("outside", what),
    )
