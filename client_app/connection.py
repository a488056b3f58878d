"""How the relay reaches its hospital's custodian."""

from collections.abc import Sequence
from importlib import import_module
from typing import Protocol, cast

from flwr.app import Context

from federation.errors import ConfigError
from federation.messages import Reply, Request


class CustodianClient(Protocol):
    """The custodian, as far as the relay can tell."""

    def handle(self, request: Request) -> Reply:
        """Answer ``request``, or raise a ``WardroundError``."""
        ...


def connect(context: Context, overrides: Sequence[str]) -> CustodianClient:
    """The custodian of the hospital that this node is.

    Raises:
        ConfigError: the node does not say which hospital it is.
    """
    position = context.node_config.get("partition-id")
    if position is None:
        raise ConfigError("this node has no partition-id, so it is no simulated hospital; see the README")
    # Only a simulation has the custodian in the relay's process, so only then is torch imported here.
    in_process = import_module("client_app.custodian.in_process")
    custodian = in_process.simulated_custodian(tuple(overrides), context.run_id, int(position))
    return cast(CustodianClient, custodian)
