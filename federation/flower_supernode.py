"""Flower's SuperNode as a hospital has it: it ends or goes on where Flower's own would stand still.

``tests/federation/test_flower_supernode.py`` holds what is assumed of the installed version.
"""

import inspect
import logging
import os
import signal
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, ClassVar

import httpx
import uvicorn
from flwr.app import Message
from flwr.common.constant import SYSTEM_TIME_TOLERANCE, TIMESTAMP_TOLERANCE, SubStatus
from flwr.proto.message_pb2 import ObjectTree
from flwr.proto.task_pb2 import Task
from flwr.supercore.corestate.in_memory_corestate import InMemoryCoreState
from flwr.supercore.exit import ExitCode, flwr_exit
from flwr.supercore.heartbeat import HeartbeatSender
from flwr.supercore.object_store import ObjectStore
from flwr.supercore.protobuf.client import ProtobufCall, ProtobufRequestContext
from flwr.supernode.cli.flower_supernode import flower_supernode
from flwr.supernode.fleet_http_connection import http_request_response
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor
from flwr.supernode.nodestate import NodeState, NodeStateFactory
from flwr.supernode.nodestate.in_memory_nodestate import InMemoryNodeState
from flwr.supernode.start_client_internal import start_client_internal

from federation.errors import RunError
from federation.flower_programs import as_arguments, put
from federation.flower_runtime import HEARTBEAT
from federation.logs import logs_json, uvicorn_in_json

log = logging.getLogger("wardround.supernode")


def run_supernode(*flags: str, **options: object) -> None:
    """Be Flower's SuperNode, with its options, e.g. ``run_supernode(superlink="gateway:9443")``.

    Flower's asks for a message every three seconds, and most of a round is this wait; here it is one. Twice a
    second it looks whether a reply is there, which is ten times here.

    It ends where it is not let in, and where a part of it breaks, and says why. Flower's own ends without a
    reason, or stays with its port open and asks for nothing more, so that nobody would start it again.

    It answers one message after the other, and waits for each reply. Of some launchers that died Flower's
    waits for ever: see ``_Memory`` and ``_HandedOver``.
    """
    sys.argv = ["flower-supernode", *flags, *as_arguments(options)]
    put(start_client_internal, time=_QuickTime(), _push_messages=_push_messages)
    put(NodeStateFactory.state, InMemoryNodeState=_Memory)
    put(InMemoryCoreState.claim_task, HEARTBEAT_DEFAULT_INTERVAL=HEARTBEAT)
    if logs_json():
        uvicorn_in_json(uvicorn.config.LOGGING_CONFIG)
    put(
        inspect.unwrap(http_request_response),
        NodeAuthHttpInterceptor=_Identity,
        HEARTBEAT_DEFAULT_INTERVAL=HEARTBEAT,
    )
    put(HeartbeatSender.start, HEARTBEAT_DEFAULT_INTERVAL=HEARTBEAT)
    broken = threading.Event()
    threading.excepthook = partial(_end, broken)
    try:
        flower_supernode()
    except SystemExit:
        if not broken.is_set():
            raise
    flwr_exit(ExitCode.SUPERNODE_CONNECTION_ERROR, "This SuperNode cannot go on; what was said last is why.")


class _Identity(NodeAuthHttpInterceptor):
    """What a SuperNode signs its requests with; it says why the coordinator does not believe it."""

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        response = super().intercept(context, call_next)
        if reason := why_not_let_in(response, datetime.now(UTC)):
            raise httpx.HTTPError(reason)  # the one kind of error that Flower neither retries nor hides
        return response


# How far a SuperNode's clock may be ahead of the SuperLink's, and behind it.
_AHEAD = timedelta(seconds=SYSTEM_TIME_TOLERANCE)
_BEHIND = timedelta(seconds=TIMESTAMP_TOLERANCE) + _AHEAD


def why_not_let_in(response: httpx.Response, now: datetime) -> str:
    """Why the coordinator does not let a SuperNode in, for the hospital's IT; empty where it does.

    Args:
        response: what the coordinator's gateway has sent.
        now: by this machine's clock.
    """
    if response.status_code == httpx.codes.FORBIDDEN and "html" in response.headers.get("content-type", ""):
        # The SuperLink's own 403 is no page, and means that a run is over.
        return (
            "the coordinator's gateway does not let this hospital in (403): its certificate has expired or "
            "was revoked, or belongs to another SuperNode's key; see until when client.crt is valid, or ask "
            "the coordinator"
        )
    if response.status_code != httpx.codes.UNAUTHORIZED:
        return ""
    there = parsedate_to_datetime(response.headers["date"]) if "date" in response.headers else now
    if not -_AHEAD < there - now < _BEHIND:
        how = "behind" if there > now else "ahead of"
        return (
            f"the coordinator does not let this SuperNode in (401): this machine's clock is "
            f"{timedelta(seconds=round(abs(there - now).total_seconds()))} {how} the coordinator's "
            f"({now:%Y-%m-%d %H:%M:%S} UTC); set it by a time server"
        )
    return (
        "the coordinator does not let this SuperNode in (401): its key is not registered there; ask the "
        "coordinator, whose wardround-coordinator sync registers all members anew"
    )


def _end(broken: threading.Event, by: threading.ExceptHookArgs) -> None:
    """End a SuperNode of which a thread has broken, as its heartbeat, without which it gets no message."""
    broken.set()
    log.error("this SuperNode cannot go on: %s", by.exc_value)
    os.kill(os.getpid(), signal.SIGINT)


class _QuickTime:
    """What the SuperNode's loop knows of time."""

    _SLEEPS: ClassVar[dict[float, float]] = {3: 1.0, 0.5: 0.1}

    def sleep(self, seconds: float) -> None:
        time.sleep(self._SLEEPS.get(seconds, seconds))


class _Memory(InMemoryNodeState):
    """What the SuperNode knows of messages and of the tasks to answer them; one at a time is being answered.

    Flower gives a launcher's death for an answer only where the message had been fetched, and then to
    whichever message of that run is there. This does so for the message that the task was to answer, whether
    it was fetched or not, and also where a task was given up without an answer.
    """

    def __init__(self, object_store: ObjectStore) -> None:
        super().__init__(object_store)
        self._asked: dict[int, str] = {}  # by task
        self._task: int | None = None

    def create_task(self, *args: Any, **kwargs: Any) -> int | None:
        self._task = super().create_task(*args, **kwargs)
        return self._task

    def store_message(self, message: Message) -> str | None:
        stored = super().store_message(message)
        if self._task is not None and stored is not None and not message.metadata.reply_to_message_id:
            self._asked[self._task] = stored
        return stored

    def finish_task(self, task_id: int, sub_status: str, details: str) -> bool:
        finished = super().finish_task(task_id, sub_status, details)
        if finished and sub_status == SubStatus.FAILED:
            self._on_task_tokens_expired(list(self.get_tasks(task_ids=[task_id])))
        self._asked.pop(task_id, None)
        return finished

    def _on_task_tokens_expired(self, tasks: list[Task]) -> None:
        super()._on_task_tokens_expired([task for task in tasks if self._waits_for(task.task_id)])

    def _waits_for(self, task: int) -> bool:
        """Whether a task's message has no answer yet; from now on it counts as fetched."""
        with self.lock_msg_store:
            entry = self.msg_store.get(self._asked.pop(task, ""))
            if entry is None:
                return False
            entry.is_retrieved = True
            return True


_PATIENCE = 20.0


class _HandedOver:
    """The objects of a reply, which a launcher hands over while they are sent on."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._nothing_since: float | None = None

    def get(self, object_id: str) -> bytes | None:
        """An object's content; empty as long as it has not come.

        Raises:
            RunError: nothing has come for ``_PATIENCE`` seconds, so the launcher has died meanwhile.
        """
        content, now = self._store.get(object_id), time.monotonic()
        if content != b"":
            self._nothing_since = None
        elif self._nothing_since is None:
            self._nothing_since = now
        elif now > self._nothing_since + _PATIENCE:
            raise RunError(f"the launcher has handed over nothing more of a reply for {_PATIENCE:g} s")
        return content

    def get_object_tree(self, object_id: str) -> ObjectTree:
        return self._store.get_object_tree(object_id)

    def delete(self, object_id: str) -> None:
        self._store.delete(object_id)


_flowers_push_messages = start_client_internal.__globals__["_push_messages"]


def _push_messages(state: NodeState, object_store: ObjectStore, send: Any, push_object: Any) -> None:
    _flowers_push_messages(state, _HandedOver(object_store), send, push_object)
