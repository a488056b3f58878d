import io
import threading
import time

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MessageType, RecordDict
from flwr.common.constant import ErrorCode

from federation.messages import DescribeReply, DescribeRequest, RefusalReply, TrainReply, to_content
from server_app.exchange import ask


@pytest.fixture
def ask_all(on_grid, study, book):
    """What each node's answer is when all are asked to describe themselves; by number, from 0."""

    def ask_them(*nodes, deadline=20.0):
        def do(grid):
            ids = sorted(grid.get_node_ids())
            questions = dict.fromkeys(ids, DescribeRequest(study=study))
            return list(ask(grid, questions, MessageType.QUERY, deadline, book).values())

        return on_grid(do, *nodes)

    return ask_them


def says(site):
    return lambda message: DescribeReply(site=site, declared_patients=10)


def raises(message):
    raise ValueError("/data/Miller^Anna.dcm")


def hangs(message):
    threading.Event().wait(30)


def with_array(array):
    """An update whose one array is ``array``."""
    reply = TrainReply(site="alder", round=1, steps=1, parameters=np.zeros(3, np.float32))
    content = to_content(reply)
    content["arrays"] = ArrayRecord({"parameters": array})
    return content


def numpy_bytes(save, values):
    buffer = io.BytesIO()
    save(buffer, values)
    return buffer.getvalue()


def raw(data, stype="numpy.ndarray"):
    return Array("float32", (3,), stype, data)


def claims(shape):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape},), }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


def test_each_answer_stands_under_the_node_that_was_asked(ask_all):
    def slow_first(message):
        time.sleep(0.2)
        return DescribeReply(site="alder", declared_patients=10)

    answers = ask_all(slow_first, says("birch"), says("cedar"))
    assert [answer.record.site for answer in answers] == ["alder", "birch", "cedar"]


def test_an_answer_is_matched_by_its_question_and_not_by_the_node_that_it_says_it_comes_from(
    on_grid, study, book
):
    """Flower's own error reports carry node id 1, whichever node they are about."""

    def do(grid):
        pull = grid.pull_messages

        def pull_with_wrong_nodes(ids):
            replies = list(pull(ids))
            for reply in replies:
                reply.metadata.__dict__["_src_node_id"] = 1
            return reversed(replies)

        grid.pull_messages = pull_with_wrong_nodes
        questions = dict.fromkeys(sorted(grid.get_node_ids()), DescribeRequest(study=study))
        return list(ask(grid, questions, MessageType.QUERY, 20.0, book).values())

    alder, birch, cedar = on_grid(do, says("alder"), raises, says("cedar"))
    assert (alder.record.site, cedar.record.site) == ("alder", "cedar")
    assert birch.problem.startswith("its node reports error ")


def test_replies_that_nobody_asked_for_and_replies_that_come_twice_are_passed_over(on_grid, study, book):
    def do(grid):
        pull, seen = grid.pull_messages, []

        def pull_too_much(ids):
            seen.extend(pull(ids))
            return list(seen)

        first, second = sorted(grid.get_node_ids())
        grid.pull_messages = pull_too_much
        for node in (first, second):
            answers = ask(grid, {node: DescribeRequest(study=study)}, MessageType.QUERY, 20.0, book)
            assert list(answers) == [node]
        return answers[second]

    assert on_grid(do, says("alder"), says("birch")).record.site == "birch"


def test_a_node_that_hangs_is_late_and_the_others_are_not_lost(ask_all):
    begun = time.monotonic()
    alder, birch, cedar = ask_all(says("alder"), hangs, says("cedar"), deadline=0.6)
    assert time.monotonic() - begun < 5
    assert (alder.record.site, cedar.record.site) == ("alder", "cedar")
    assert birch.record is None
    assert birch.problem == "no reply within 0.6 s"


BREAKS_OFF = "a reply that breaks off half-way, for which Flower's pull waits"


@pytest.fixture
def one_breaks_off(on_grid, study, book):
    """``one_breaks_off(all_at_once)``: the answers of three nodes; to pull what alder says takes too long."""

    def ask_them(all_at_once):
        def do(grid):
            push, pull, pushed = grid.push_messages, grid.pull_messages, []

            def push_noted(messages):
                pushed.extend(push(messages))
                return pushed

            def pull_slowly(ids):
                if all_at_once or pushed[0] in ids:
                    time.sleep(3)
                return pull(ids)

            grid.push_messages, grid.pull_messages = push_noted, pull_slowly
            questions = dict.fromkeys(sorted(grid.get_node_ids()), DescribeRequest(study=study))
            return list(ask(grid, questions, MessageType.QUERY, 1.0, book).values())

        return on_grid(do, says("alder"), says("birch"), says("cedar"))

    return ask_them


@pytest.mark.attack(BREAKS_OFF, held_by="each reply pulled by itself")
def test_a_reply_that_breaks_off_half_way_makes_nobody_else_late(one_breaks_off):
    alder, birch, cedar = one_breaks_off(all_at_once=False)
    assert alder.problem == "no reply within 1 s"
    assert (birch.record.site, cedar.record.site) == ("birch", "cedar")


@pytest.mark.mutant(BREAKS_OFF, how="all pulled at once")
def test_pulled_at_once_all_are_late(one_breaks_off):
    assert {answer.problem for answer in one_breaks_off(all_at_once=True)} == {"no reply within 1 s"}


def test_nobody_is_waited_for_longer_than_it_takes(ask_all):
    begun = time.monotonic()
    ask_all(says("alder"), says("birch"), deadline=60)
    assert time.monotonic() - begun < 5


def test_a_node_whose_app_raises_gives_a_code_and_not_the_text_of_the_error(ask_all):
    (answer,) = ask_all(raises)
    assert answer.record is None
    assert answer.problem.startswith("its node reports error ")
    assert "Miller" not in repr(answer)


def test_why_a_node_has_no_answer_is_told_in_words(on_grid, study, book):
    def do(grid):
        pull = grid.pull_messages

        def pull_from_nobody(ids):
            for reply in (replies := list(pull(ids))):
                reply.error.__dict__["_code"] = ErrorCode.NODE_UNAVAILABLE
            return replies

        grid.pull_messages = pull_from_nobody
        questions = dict.fromkeys(grid.get_node_ids(), DescribeRequest(study=study))
        return list(ask(grid, questions, MessageType.QUERY, 20.0, book).values())

    (answer,) = on_grid(do, raises)
    assert answer.problem == "its node reports error 5 (it is not connected)"


def test_a_refusal_keeps_its_rule_reason_reference_and_site(ask_all):
    refusal = RefusalReply(site="birch", kind="refused", rule="no-way", reason="never", reference="abc123")
    (answer,) = ask_all(lambda message: refusal)
    assert answer.record is None
    assert answer.site == "birch"
    assert answer.problem == "refused by no-way: never (reference abc123)"


@pytest.mark.parametrize(
    "content",
    [
        RecordDict(),
        RecordDict({"record": ConfigRecord({"kind": "os.system", "json": "{}"})}),
        RecordDict({"record": ConfigRecord({"kind": "DescribeReply", "json": "{"})}),
        RecordDict({"record": ConfigRecord({"kind": "DescribeReply", "json": "[]"})}),
        RecordDict({"record": ConfigRecord({"kind": "DescribeReply", "json": "{" * 100_000})}),
        RecordDict({"record": ConfigRecord({"kind": "DescribeReply", "json": '{"site": "../alder"}'})}),
        with_array(Array(np.zeros((2, 2), np.float32))),
        with_array(Array(np.zeros(3, np.float64))),
        with_array(raw(b"cos\nsystem\n", "pickle")),
        with_array(raw(b"cos\nsystem\n")),
        with_array(raw(b"")),
        with_array(raw(numpy_bytes(np.savez, np.zeros(3, np.float32)))),
        with_array(raw(claims(10**15))),
    ],
    ids=[
        "nothing",
        "unknown kind",
        "half a json",
        "a list",
        "endless json",
        "not a name",
        "a matrix",
        "float64",
        "says pickle",
        "is pickle",
        "empty array",
        "an archive",
        "4 petabytes",
    ],
)
def test_malformed_content_is_an_invalid_reply_and_harms_nobody_else(ask_all, content):
    bad, good = ask_all(lambda message: content, says("birch"))
    assert bad.record is None
    assert bad.problem.startswith("invalid reply: ")
    assert good.record.site == "birch"


@pytest.mark.parametrize("rubbish", [None, 7, "hello"])
def test_an_app_that_returns_no_message_at_all_is_an_error_of_its_node(ask_all, rubbish):
    bad, good = ask_all(lambda message: rubbish, says("birch"))
    assert bad.record is None
    assert "error" in bad.problem
    assert good.record.site == "birch"


def test_nobody_asked_is_nobody_waited_for(on_grid, book):
    assert on_grid(lambda grid: ask(grid, {}, MessageType.QUERY, 60, book), says("alder")) == {}
