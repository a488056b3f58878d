"""The contract of ``simulation.inline_grid`` with the installed Flower."""

import inspect
import threading
import time
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from flwr.app import ConfigRecord, Context, Error, Message, MessageType, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from packaging.requirements import Requirement

from simulation.inline_grid import InlineGrid, run_apps

ROOT = Path(__file__).parents[2]


def content(**values):
    return RecordDict({"record": ConfigRecord(values)})


@pytest.fixture
def run():
    """``run(do, node)``: what ``do(grid, context)`` returns over nodes whose app is the function ``node``."""

    def over(do, node, nodes=3, at_once=3, run_config=None):
        server, client, results = ServerApp(), ClientApp(), []

        @server.main()
        def main(grid, context):
            results.append(do(grid, context))

        client.query()(node)
        client.train()(node)
        run_apps(server, client, run_config or {}, nodes=nodes, run_id=7, at_once=at_once)
        return results[0]

    return over


def echo(message, context):
    return Message(content(number=context.node_config["partition-id"]), reply_to=message)


def replies_to(grid, messages, seconds=10.0):
    """All that comes back within some seconds, by the id of the question."""
    ids = list(grid.push_messages(messages))
    found, end = {}, time.monotonic() + seconds
    while len(found) < len(ids) and time.monotonic() < end:
        found |= {reply.metadata.reply_to_message_id: reply for reply in grid.pull_messages(ids)}
        time.sleep(0.005)
    return [found.get(one) for one in ids]


def to_all(grid, message_type=MessageType.QUERY):
    return [grid.create_message(content(), message_type, node, "1") for node in grid.get_node_ids()]


def test_the_installed_flower_is_one_that_the_project_allows():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (flower,) = [one for one in map(Requirement, project["dependencies"]) if one.name == "flwr"]
    assert flower.specifier.contains(version("flwr"))
    assert not flower.specifier.contains("2.0"), "the range has an upper end"


def test_everything_that_flower_asks_of_a_grid_is_there_with_the_same_parameters():
    for name in Grid.__abstractmethods__:
        theirs, ours = getattr(Grid, name), getattr(InlineGrid, name)
        if isinstance(theirs, property):
            assert isinstance(ours, property), name
        else:
            assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters), (
                name
            )
    assert not InlineGrid.__abstractmethods__


def test_flower_says_who_a_process_is_by_three_numbers():
    for name in ("task_id", "run_id", "node_id"):
        assert hasattr(type(TaskIdentity), name), name


def test_a_run_is_known_by_its_number(run):
    grid_run = run(lambda grid, context: grid.run, echo)
    assert isinstance(grid_run, Run)
    assert grid_run.run_id == 7


def test_a_run_can_be_set(run):
    def do(grid, context):
        grid.set_run(Run.create_empty(8))
        return grid.run.run_id

    assert run(do, echo) == 8


def test_messages_can_be_made_in_a_run_and_carry_what_they_were_given(run):
    def do(grid, context):
        node = next(iter(grid.get_node_ids()))
        return grid.create_message(content(a=1), MessageType.TRAIN, node, "5", ttl=12.0), node

    message, node = run(do, echo)
    assert message.content["record"]["a"] == 1
    assert message.metadata.dst_node_id == node
    assert message.metadata.message_type == MessageType.TRAIN
    assert message.metadata.group_id == "5"
    assert message.metadata.ttl == 12
    assert message.metadata.run_id == 7
    assert message.metadata.src_node_id == SUPERLINK_NODE_ID


def test_every_node_has_a_context_of_its_own(run):
    seen = []

    def node(message, context):
        seen.append(context)
        return echo(message, context)

    def do(grid, context):
        replies_to(grid, to_all(grid))
        return list(grid.get_node_ids()), context

    nodes, server_context = run(do, node, run_config={"study": "nodule_ct"})
    assert sorted(context.node_id for context in seen) == sorted(nodes)
    assert sorted(context.node_config["partition-id"] for context in seen) == [0, 1, 2]
    assert {context.node_config["num-partitions"] for context in seen} == {3}
    assert all(context.run_config == {"study": "nodule_ct"} for context in [*seen, server_context])
    assert all(isinstance(context, Context) and context.run_id == 7 for context in seen)
    assert len({id(context.state) for context in seen}) == 3
    assert server_context.node_id == SUPERLINK_NODE_ID


def test_what_a_node_keeps_in_its_state_is_there_at_the_next_message(run):
    def count(message, context):
        before = context.state["n"]["n"] if "n" in context.state else 0
        context.state["n"] = ConfigRecord({"n": before + 1})
        return Message(content(n=before + 1), reply_to=message)

    def do(grid, context):
        return [[reply.content["record"]["n"] for reply in replies_to(grid, to_all(grid))] for _ in range(2)]

    assert run(do, count) == [[1, 1, 1], [2, 2, 2]]


@pytest.mark.parametrize("message_type", [MessageType.QUERY, MessageType.TRAIN])
def test_a_reply_names_the_question_and_comes_from_the_node_that_was_asked(run, message_type):
    def do(grid, context):
        messages = to_all(grid, message_type)
        return list(grid.get_node_ids()), replies_to(grid, messages)

    nodes, replies = run(do, echo)
    assert [reply.content["record"]["number"] for reply in replies] == [0, 1, 2]
    assert [reply.metadata.src_node_id for reply in replies] == nodes
    assert {reply.metadata.dst_node_id for reply in replies} == {SUPERLINK_NODE_ID}
    assert not any(reply.has_error() for reply in replies)


def test_each_reply_is_handed_out_once_and_only_to_who_asks_for_it(run):
    def do(grid, context):
        first, second = grid.push_messages(to_all(grid)[:2])
        assert first != second
        time.sleep(0.3)
        mine = list(grid.pull_messages([first]))
        return mine, list(grid.pull_messages([first])), list(grid.pull_messages([second, "unknown"]))

    mine, again, other = run(do, echo)
    assert [len(mine), len(again), len(other)] == [1, 0, 1]
    assert [reply.content["record"]["number"] for reply in (*mine, *other)] == [0, 1]


def raising(message, context):
    raise ValueError("/data/Miller^Anna.dcm")


@pytest.mark.parametrize("node", [raising, lambda message, context: None], ids=["raises", "returns nothing"])
def test_an_app_that_fails_becomes_an_error_reply_without_its_text(run, node):
    (reply, *_) = run(lambda grid, context: replies_to(grid, to_all(grid)), node)
    assert reply.has_error()
    assert isinstance(reply.error, Error)
    assert reply.error.code == ErrorCode.CLIENT_APP_RAISED_EXCEPTION
    assert "Miller" not in str(reply.error.reason)


def test_no_more_nodes_work_at_once_than_are_allowed(run):
    working, most, lock = [0], [0], threading.Lock()

    def node(message, context):
        with lock:
            working[0] += 1
            most[0] = max(most[0], working[0])
        time.sleep(0.03)
        with lock:
            working[0] -= 1
        return echo(message, context)

    for at_once in (1, 2):
        most[0] = 0
        run(lambda grid, context: replies_to(grid, to_all(grid)), node, nodes=6, at_once=at_once)
        assert most[0] == at_once


def test_nodes_work_side_by_side(run):
    everybody = threading.Barrier(3, timeout=10)

    def node(message, context):
        everybody.wait()
        return echo(message, context)

    replies = run(lambda grid, context: replies_to(grid, to_all(grid)), node)
    assert not any(reply.has_error() for reply in replies)


def test_a_node_that_hangs_keeps_nobody_from_going_on_or_the_process_from_ending(run):
    def node(message, context):
        if context.node_config["partition-id"] == 1:
            threading.Event().wait(30)
        return echo(message, context)

    first, second, third = run(lambda grid, context: replies_to(grid, to_all(grid), seconds=0.5), node)
    assert second is None
    assert first is not None
    assert third is not None
    assert all(thread.daemon for thread in threading.enumerate() if thread.name.endswith("(_work)"))


def test_a_wait_without_a_deadline_is_not_offered(run):
    with pytest.raises(NotImplementedError, match="push_messages and pull_messages"):
        run(lambda grid, context: grid.send_and_receive(to_all(grid)), echo)
