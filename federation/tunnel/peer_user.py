"""Which user of this machine is at the other side of a loopback connection.

TCP has no ``SO_PEERCRED``; Linux tells it in ``/proc/net/tcp``, a line a socket: number, local address,
remote address, state, ..., user, ..., inode.
"""

import ipaddress
import sys
from pathlib import Path

from federation.errors import ConfigError

_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_LOCAL, _REMOTE, _USER, _INODE = 1, 2, 7, 9


def check_users_are_told() -> None:
    """Make sure that this machine tells users apart.

    Raises:
        ConfigError: it does not.
    """
    if not _TABLES[0].exists():
        raise ConfigError(
            f"{sys.platform} does not tell whose a connection is (no {_TABLES[0]}), so any user of this "
            "machine could use this certificate; run this command on Linux"
        )


def peer_user(peer: tuple[str, int], own: tuple[str, int]) -> int | None:
    """The user who holds the socket at ``peer`` of a connection to ``own``; None where nobody holds it.

    A socket that its process has closed belongs to nobody: Linux would say root.
    """
    ends = {(_written(*peer, mapped=mapped), _written(*own, mapped=mapped)) for mapped in (False, True)}
    for table in _TABLES:
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            cells = line.split()
            if (cells[_LOCAL], cells[_REMOTE]) in ends and cells[_INODE] != "0":
                return int(cells[_USER])
    return None


def _written(host: str, port: int, *, mapped: bool) -> str:
    """An address as the table has it: words of four bytes, each as a number of this machine's byte order."""
    packed = ipaddress.ip_address(host).packed
    if mapped and len(packed) == 4:
        packed = ipaddress.ip_address(f"::ffff:{host}").packed
    words = (int.from_bytes(packed[at : at + 4], sys.byteorder) for at in range(0, len(packed), 4))
    return f"{''.join(f'{word:08X}' for word in words)}:{port:04X}"
