"""Bring the SuperLink to what the book says."""

from typing import NamedTuple, Protocol

from federation.errors import RefusedError
from server_app.admission.folder import Folder
from server_app.admission.superlink_client import Node, SuperLink


class Nodes(Protocol):
    """What is asked of a SuperLink; see ``SuperLink``."""

    def nodes(self) -> tuple[Node, ...]:
        """All that it has ever heard of."""
        ...

    def register(self, key: str, name: str) -> None:
        """Let the SuperNode with that key connect."""
        ...

    def unregister(self, node: Node) -> None:
        """Let it connect no more, ever."""
        ...


class Synced(NamedTuple):
    """What was changed.

    Attributes:
        registered: the hospitals that may connect now.
        unregistered: how many SuperNodes may not any more.
        refused: the hospitals whose SuperNodes' keys were revoked before, and never will be taken.
    """

    registered: tuple[str, ...]
    unregistered: int
    refused: tuple[str, ...]


def sync_superlink(folder: Folder) -> Synced:
    """Bring the SuperLink behind the coordinator's own gateway to what the book says.

    Raises:
        ConfigError: the folder or its settings are none.
        DataError: a file in it is not what it should be.
        RunError: the SuperLink does not answer.
    """
    settings = folder.settings
    with folder.changing(), SuperLink(settings.control, folder.administrator) as superlink:
        return synced(superlink, folder.book.nodes)


def synced(superlink: Nodes, admitted: dict[str, str]) -> Synced:
    """Register who is admitted, unregister all others; said twice, it changes nothing.

    Args:
        superlink: which one.
        admitted: names by SuperNodes' keys.
    """
    known = {node.key: node for node in superlink.nodes()}
    gone = [node for node in known.values() if not node.gone and node.key not in admitted]
    for node in gone:
        superlink.unregister(node)
    registered, refused = [], []
    for key, name in admitted.items():
        if key not in known:
            try:
                superlink.register(key, name)
                registered.append(name)
            except RefusedError:  # of an account that this one cannot see
                refused.append(name)
        elif known[key].gone:
            refused.append(name)
    return Synced(tuple(registered), len(gone), tuple(refused))
