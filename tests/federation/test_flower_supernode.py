"""What a SuperNode makes of a coordinator that does not let it in, and of launchers that die."""

import inspect
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.constant import HEARTBEAT_CALL_TIMEOUT, HEARTBEAT_PATIENCE, ErrorCode, SubStatus
from flwr.supercore.constant import TaskType
from flwr.supercore.corestate.in_memory_corestate import InMemoryCoreState
from flwr.supercore.corestate.sql_corestate import SqlCoreState
from flwr.supercore.heartbeat import HeartbeatSender
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.task_identity import TaskIdentity
from flwr.supernode.fleet_http_connection import http_request_response
from flwr.supernode.nodestate import NodeStateFactory
from flwr.supernode.nodestate.in_memory_nodestate import InMemoryNodeState
from flwr.supernode.start_client_internal import start_client_internal

from federation import flower_supernode
from federation.flower_runtime import HEARTBEAT
from federation.flower_supernode import _Memory, _push_messages, _QuickTime, why_not_let_in

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("function", "call"),
    [
        (start_client_internal, "time.sleep(3)"),
        (start_client_internal, "_push_messages("),
        (NodeStateFactory.state, "InMemoryNodeState(object_store)"),
        (inspect.unwrap(http_request_response), "NodeAuthHttpInterceptor(private_key, public_key)"),
        (inspect.unwrap(http_request_response), "heartbeat_interval=HEARTBEAT_DEFAULT_INTERVAL"),
    ],
)
def test_flower_looks_up_what_is_replaced_and_calls_it_so(function, call):
    assert call in inspect.getsource(function)
    assert call.split("(")[0].split("=")[-1].split(".")[0] in function.__globals__


def test_the_supernode_knows_no_more_of_time_than_to_sleep():
    names = inspect.getsource(inspect.getmodule(start_client_internal)).split("time.")
    said = {text.split("(")[0].split()[0] for text in names[1:]}
    assert "sleep" in said
    assert not {"time", "monotonic", "perf_counter"} & said
    assert hasattr(_QuickTime(), "sleep")


def refused(seconds, status=401):
    """What a SuperNode says whose clock is so much behind."""
    date = format_datetime(NOON + timedelta(seconds=seconds), usegmt=True)
    return why_not_let_in(httpx.Response(status, headers={"date": date}), NOON)


@pytest.mark.parametrize(
    ("seconds", "said"), [(306, "clock is 0:05:06 behind"), (-6, "clock is 0:00:06 ahead of")]
)
def test_a_clock_that_flower_does_not_take_is_named(seconds, said):
    assert said in refused(seconds)


@pytest.mark.parametrize("seconds", [304, 0, -4])
def test_with_a_clock_that_it_takes_it_is_the_key(seconds):
    assert "key is not registered" in refused(seconds)


def test_a_superlink_that_says_that_a_run_is_over_lets_a_supernode_in():
    assert why_not_let_in(httpx.Response(403, json={"code": 1, "detail": ""}), NOON) == ""


def test_a_superlink_that_is_away_is_waited_for():
    assert refused(0, 502) == ""


def test_heartbeats_are_reckoned_by_the_number_that_is_replaced():
    assert "= HEARTBEAT_DEFAULT_INTERVAL - HEARTBEAT_CALL_TIMEOUT" in inspect.getsource(HeartbeatSender._run)
    for waits in (InMemoryCoreState.claim_task, SqlCoreState.claim_task):
        assert "seconds=HEARTBEAT_DEFAULT_INTERVAL" in inspect.getsource(waits)
    assert 2 * (HEARTBEAT - HEARTBEAT_CALL_TIMEOUT) <= HEARTBEAT_PATIENCE * HEARTBEAT


RUN = 7


def told(text, reply_to=None):
    """A message with an id, as one that has come over the network."""
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, RUN, 1
    content = RecordDict({"told": ConfigRecord({"text": text})})
    message = Message(content, reply_to=reply_to) if reply_to else Message(content, 1, "query")
    message.metadata.__dict__["_message_id"] = message.object_id
    return message


class Node:
    """A SuperNode's memory, with what its loop and a launcher do to it."""

    def __init__(self, memory):
        self.store = ObjectStoreFactory().store()
        self.memory = memory(self.store)

    def receive(self, message):
        task = self.memory.create_task(task_type=TaskType.CLIENT_APP, run_id=RUN, fab_hash="bundle")
        self.store.preregister(RUN, get_object_tree(message))
        self.memory.store_message(message)
        self.memory.claim_task(task)
        self.memory.activate_task(task)
        return task

    def fetch(self):
        (message,) = self.memory.get_messages_legacy(run_ids=[RUN], is_reply=False, limit=1)
        return message

    def answer(self, message):
        """As far as to say what it will be."""
        reply = told("well", message)
        self.store.preregister(RUN, get_object_tree(reply))
        self.memory.store_message(reply)
        return reply

    def give_up(self, task):
        self.memory.finish_task(task, SubStatus.FAILED, "why")

    def dies(self, task):
        """The launcher: nothing is heard of its task any more."""
        self.memory.task_token_store[task].active_until = datetime.now(UTC) - timedelta(seconds=1)

    def errors(self):
        replies = self.memory.get_messages_legacy(is_reply=True)
        return [(reply.metadata.reply_to_message_id, reply.error.code) for reply in replies]


@pytest.fixture
def node():
    return Node(_Memory)


@pytest.mark.parametrize("fetched", [True, False])
@pytest.mark.parametrize("ends", [Node.give_up, Node.dies])
def test_a_message_whose_task_ends_without_an_answer_is_answered_by_an_error(node, ends, fetched):
    message = told("question")
    task = node.receive(message)
    if fetched:
        node.fetch()
    ends(node, task)
    assert node.errors() == [(message.metadata.message_id, ErrorCode.CLIENT_APP_CRASHED)]
    assert node.errors() == []


@pytest.mark.parametrize(
    ("ends", "fetched"), [(Node.give_up, True), (Node.give_up, False), (Node.dies, False)]
)
def test_flowers_own_memory_leaves_it_without(ends, fetched):
    node = Node(InMemoryNodeState)
    task = node.receive(told("question"))
    if fetched:
        node.fetch()
    ends(node, task)
    assert node.errors() == []


@pytest.mark.parametrize("ends", [Node.give_up, Node.dies])
def test_an_answer_that_is_there_stays_the_only_one(node, ends):
    message = told("question")
    task = node.receive(message)
    node.answer(node.fetch())
    ends(node, task)
    (reply,) = node.memory.get_messages_legacy(is_reply=True)
    assert reply.has_content()


@pytest.mark.parametrize("ends", [Node.give_up, Node.dies])
@pytest.mark.parametrize("memory", [_Memory, InMemoryNodeState])
def test_a_task_that_ends_late_is_no_answer_to_the_message_after_its_own(memory, ends):
    node = Node(memory)
    first, second = told("first"), told("second")
    task = node.receive(first)
    node.memory.delete_messages(
        message_ids=[first.metadata.message_id, node.answer(node.fetch()).metadata.message_id]
    )
    node.receive(second)
    node.fetch()
    ends(node, task)
    wrong = memory is InMemoryNodeState and ends is Node.dies
    assert bool(node.errors()) == wrong


@pytest.fixture
def sends(monkeypatch):
    """``sends(node, push)``: whether a reply of which half has come lets the SuperNode go on."""
    monkeypatch.setattr(flower_supernode, "_PATIENCE", 0.5)

    def run(node, push):
        message = told("question")
        node.receive(message)
        node.memory.record_message_processing_start(message.metadata.message_id)
        reply = node.answer(node.fetch())
        objects = get_all_nested_objects(reply)
        sent = []
        loop = threading.Thread(
            target=push,
            args=(
                *(node.memory, node.store),
                lambda *_: ({*objects}, "session"),
                lambda run, session, name, content: sent.append(name),
            ),
            daemon=True,
        )
        first = next(iter(objects))
        node.store.put(first, objects[first].deflate())
        loop.start()
        loop.join(2)
        return not loop.is_alive(), sent, node.memory.msg_store

    return run


def test_a_launcher_that_dies_while_it_hands_a_reply_over_holds_nobody_up(node, sends):
    goes_on, sent, messages = sends(node, _push_messages)
    assert goes_on
    assert len(sent) <= 1
    assert messages == {}


def test_flowers_own_supernode_waits_for_it_for_ever(node, sends):
    goes_on, _, _ = sends(node, start_client_internal.__globals__["_push_messages"])
    assert not goes_on
