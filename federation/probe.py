"""Whether programs answer: ``python -P -m federation.probe HOST:PORT|SOCKET ...``, for health checks.

It asks from outside, since a program that hangs still believes itself well, and needs nothing but Python.
"""

import socket
import sys

_SECONDS = 5.0


def answers(where: str) -> bool:
    """Whether somebody accepts a connection at ``host:port``, or at the path of a Unix socket."""
    unix = where.startswith("/")
    host, _, port = where.rpartition(":")
    with socket.socket(socket.AF_UNIX if unix else socket.AF_INET) as probe:
        probe.settimeout(_SECONDS)
        try:
            probe.connect(where if unix else (host, int(port)))
        except OSError:
            return False
    return True


if __name__ == "__main__":
    silent = [where for where in sys.argv[1:] if not answers(where)]
    sys.exit(f"nobody answers at {', '.join(silent)}" if silent else 0)
