"""``python -P -m client_app.forward ADDRESS HOST PORT[,PORT...]``: from ADDRESS to HOST, port by port.

It is the way out of containers whose network leads nowhere else. What is carried is not read: TLS is between
its two ends.
"""

import sys

from federation.errors import WardroundError
from federation.logs import log_lines
from federation.tunnel.address import Address, address_of
from federation.tunnel.forward import Forward, run


def _forwards(address: str, host: str, ports: str) -> list[Forward]:
    return [Forward(address_of(f"{address}:{port}"), Address(host, int(port))) for port in ports.split(",")]


if __name__ == "__main__":
    log_lines()
    try:
        run(*_forwards(*sys.argv[1:]))
    except WardroundError as error:
        sys.exit(str(error))
