"""How the relay reaches its hospital's custodian."""

from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from flwr.app import Context

from client_app.socket_client import SocketClient
from federation.errors import ConfigError
from federation.messages import Reply, Request
from federation.run_config import hydra_overrides

# A little longer than the custodian takes before it says itself that something takes too long.
_SECONDS = 4000.0


class CustodianClient(Protocol):
    """The custodian, as far as the relay can tell."""

    def handle(self, request: Request) -> Reply:
        """Answer ``request``, or raise a ``WardroundError``."""
        ...


def connect(context: Context) -> CustodianClient:
    """The custodian of the hospital that this node is.

    A hospital's node names its custodian's socket, and then nothing that a run says of itself is looked at.

    Raises:
        ConfigError: the node does not say which hospital it is, or a simulated run's settings are wrong.
    """
    socket = context.node_config.get("custodian")
    if socket is not None:
        return _behind(Path(str(socket)))
    position = context.node_config.get("partition-id")
    if position is None:
        raise ConfigError(
            "this node's config has neither custodian (the socket of a hospital's custodian) nor "
            "partition-id (the number of a simulated hospital); give one of them with --node-config"
        )
    # Only a simulation has the custodian in the relay's process, so only then is torch imported here.
    in_process = import_module("client_app.custodian.in_process")
    overrides = tuple(hydra_overrides(context.run_config))
    return cast(CustodianClient, in_process.simulated_custodian(overrides, context.run_id, int(position)))


@lru_cache
def _behind(socket: Path) -> SocketClient:
    return SocketClient(socket, _SECONDS)
