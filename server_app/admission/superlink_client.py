"""What the coordinator needs of Flower's insides to say which SuperNodes there are.

As ``flwr supernode register``, ``unregister`` and ``list`` do it (flwr 1.41), but with the administrator's
client certificate, which those cannot show.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from flwr.proto.control_pb2 import (
    ListNodesRequest,
    RegisterNodeRequest,
    UnregisterNodeRequest,
)
from flwr.supercore.constant import NodeStatus
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.error import ApiErrorCode

from federation.errors import DataError, RefusedError
from server_app.control_errors import control_errors

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Node:
    """A SuperNode that the SuperLink has heard of.

    Attributes:
        number: its id there.
        key: its public key, in PEM.
        gone: it was unregistered; its key can never be registered again.
    """

    number: int
    key: str
    gone: bool


class SuperLink:
    """A SuperLink behind its gateway, over the port for researchers and the administrator.

    Args:
        where: ``host:port``.
        administrator: the folder of the client certificate.
    """

    def __init__(self, where: str, administrator: Path) -> None:
        self._where = where
        self._client = ControlHttpClient(f"https://{where}", verify=_tls(administrator))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def nodes(self) -> tuple[Node, ...]:
        """All that it has ever heard of.

        Raises:
            RunError: it does not answer.
        """
        told = self._ask(lambda: self._client.ListNodes(ListNodesRequest()))
        return tuple(
            Node(info.node_id, info.public_key.decode(), info.status == NodeStatus.UNREGISTERED)
            for info in told.nodes_info
        )

    def register(self, key: str, name: str) -> None:
        """Let the SuperNode with that key connect.

        Raises:
            RefusedError: its key was unregistered before.
            RunError: it does not answer.
        """
        self._ask(lambda: self._client.RegisterNode(RegisterNodeRequest(public_key=key.encode(), name=name)))

    def unregister(self, node: Node) -> None:
        """Let it connect no more, ever.

        Raises:
            RunError: it does not answer.
        """
        self._ask(lambda: self._client.UnregisterNode(UnregisterNodeRequest(node_id=node.number)))

    def _ask(self, question: Callable[[], Answer]) -> Answer:
        it = f"the SuperLink at {self._where}"
        with control_errors(
            self._where,
            silent=(f"{it} does not answer", "see to it"),
            refuses=(f"{it} refuses", "see to it, and to its gateway"),
            known={ApiErrorCode.PUBLIC_KEY_ALREADY_IN_USE: RefusedError("node-key-revoked", USED_KEY)},
        ):
            return question()


USED_KEY = (
    "Flower never takes a SuperNode's key again that was revoked; ask for a request with new keys, which "
    "wardround-site init --force makes"
)


def _tls(administrator: Path) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(administrator / "coordinator.crt"))
        context.load_cert_chain(administrator / "client.crt", administrator / "client.key")
    except (OSError, ssl.SSLError) as error:
        raise DataError(
            f"{administrator} has no certificate that can be used ({error}); restore it"
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context
