"""Flower's server and client apps, unchanged, in one process.

Everything of Flower that is not its public API stands in this file; ``tests/simulation/test_inline_grid.py``
is its contract, and ``pyproject.toml`` pins the versions it was checked with.
"""

import itertools
import threading
from collections.abc import Iterable, Sequence
from queue import SimpleQueue

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

_FIRST_NODE = 1000


class InlineGrid(Grid):
    """A grid whose nodes share a few threads of this process.

    The threads stay until ``close``: a new one for each message would cost torch a sixth of its time.

    Args:
        client_app: what every node runs.
        contexts: one of each node; ``node_id`` tells them apart.
        at_once: how many nodes work at the same time.
    """

    def __init__(self, client_app: ClientApp, contexts: Sequence[Context], at_once: int) -> None:
        self._client_app = client_app
        self._contexts = {context.node_id: context for context in contexts}
        self._at_once = at_once
        self._threads = 0
        self._waiting: SimpleQueue[Message | None] = SimpleQueue()
        self._numbers = itertools.count(1)
        self._replies: dict[str, Message] = {}
        self._run = Run.create_empty(contexts[0].run_id)

    def set_run(self, run: Run) -> None:
        """Set the run that messages belong to."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run that messages belong to."""
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """A message to a node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """All nodes; they are always there."""
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Set the nodes to work; returns the messages' ids."""
        return [self._push(message) for message in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies that have come, each once."""
        return [self._replies.pop(message_id) for message_id in message_ids if message_id in self._replies]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Not offered: a wait without a deadline is what ``server_app.exchange`` avoids."""
        raise NotImplementedError("use push_messages and pull_messages, as server_app.exchange does")

    def _push(self, message: Message) -> str:
        message_id = f"inline-{next(self._numbers)}"
        message.metadata.__dict__["_message_id"] = message_id
        self._waiting.put(message)
        if self._threads < self._at_once:
            self._threads += 1
            # A daemon, so that a node that hangs cannot keep the process from ending.
            threading.Thread(target=self._work, daemon=True).start()
        return message_id

    def close(self) -> None:
        """Let the threads end, each when it has answered what it is at."""
        for _ in range(self._threads):
            self._waiting.put(None)

    def _work(self) -> None:
        while (message := self._waiting.get()) is not None:
            self._replies[message.metadata.message_id] = self._reply(message)

    def _reply(self, message: Message) -> Message:
        try:
            reply = self._client_app(message, self._contexts[message.metadata.dst_node_id])
            if not isinstance(reply, Message):
                raise TypeError(f"the app returned a {type(reply).__name__}, not a message")
        except Exception as error:  # as a real node does it
            return Message(
                Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, type(error).__name__), reply_to=message
            )
        return reply


def run_apps(
    server_app: ServerApp,
    client_app: ClientApp,
    run_config: dict[str, str],
    *,
    nodes: int,
    run_id: int,
    at_once: int,
) -> None:
    """Run both apps to the end, as one Flower run with ``nodes`` nodes numbered by ``partition-id``."""
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, run_id, SUPERLINK_NODE_ID
    contexts = [
        Context(
            run_id=run_id,
            node_id=_FIRST_NODE + position,
            node_config={"partition-id": position, "num-partitions": nodes},
            state=RecordDict(),
            run_config=dict(run_config),
        )
        for position in range(nodes)
    ]
    server_context = Context(run_id, SUPERLINK_NODE_ID, {}, RecordDict(), dict(run_config))
    grid = InlineGrid(client_app, contexts, at_once)
    try:
        server_app(grid, server_context)
    finally:
        grid.close()
