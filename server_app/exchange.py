"""Ask several nodes one thing each, and wait for the answers no longer than the deadline."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from queue import Empty, Queue
from threading import Thread
from typing import TypeVar

from flwr.app import Message
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

from federation.errors import MessageError
from federation.messages import (
    MOST_HEADS,
    EvaluateReply,
    KeysReply,
    MaskedReply,
    Record,
    RefusalReply,
    Reply,
    Request,
    TrainReply,
    UnmaskReply,
    from_content,
    to_content,
)
from server_app.audit_heads import HeadBook

Kind = TypeVar("Kind", KeysReply, TrainReply, MaskedReply, UnmaskReply, EvaluateReply)

# Seconds between two looks for replies: short at first, for simulations, and then easy on a real network.
_FIRST_LOOK, _SLOWEST_LOOK = 0.01, 0.7

# What stands behind Flower's numbers; its own words are a stranger's, and may tell of patients.
_ERRORS = {
    ErrorCode.LOAD_CLIENT_APP_EXCEPTION: "its program could not be loaded",
    ErrorCode.CLIENT_APP_RAISED_EXCEPTION: "its program broke off",
    ErrorCode.MESSAGE_UNAVAILABLE: "it was not connected when it was asked, or answered too late",
    ErrorCode.REPLY_MESSAGE_UNAVAILABLE: "its answer is lost, or came too late",
    ErrorCode.NODE_UNAVAILABLE: "it is not connected",
    ErrorCode.CLIENT_APP_CRASHED: "its program died",
}


@dataclass(frozen=True)
class Answer:
    """What came of a question to one node.

    Attributes:
        record: its reply; None where there was none that can be used.
        problem: why not, for people; empty where there is a record.
        site: who says so, where a refusal names it.
        refused: a rule of the site said no, so that nothing was computed on patients.
    """

    record: Record | None
    problem: str = ""
    site: str = ""
    refused: bool = False


def ask(
    grid: Grid, questions: Mapping[int, Request], message_type: str, deadline: float, book: HeadBook
) -> dict[int, Answer]:
    """Send each node its question; every node has an answer in the result, if only that it was late.

    Every question tells the newest audit heads that the coordinator knows of the study's hospitals, and those
    of every reply are noted; a reply whose hospital contradicts what it signed before is none that can be
    used.

    Args:
        grid: Flower's link to the nodes.
        questions: node id -> request.
        message_type: of Flower, ``MessageType.QUERY`` or ``MessageType.TRAIN``.
        deadline: seconds until a node without a reply counts as late.
        book: of audit heads.

    Raises:
        StorageError: the disk did not take the heads.
    """
    nodes = list(questions)
    told = {node: _with_heads(question, book) for node, question in questions.items()}
    messages = [
        Message(to_content(told[node]), dst_node_id=node, message_type=message_type, ttl=deadline)
        for node in nodes
    ]
    # Replies are matched by the question they reply to: an error report carries a node id of its own.
    waiting = dict(zip(grid.push_messages(messages), nodes, strict=True))
    answers: dict[int, Answer] = {}
    for reply in _replies(grid, waiting, time.monotonic() + deadline):
        node = waiting.pop(reply.metadata.reply_to_message_id, None)
        if node is not None:
            answers[node] = _answer(reply, book)
    late = {node: Answer(None, f"no reply within {deadline:g} s") for node in waiting.values()}
    return {node: (answers | late)[node] for node in nodes}


def answer_of(kind: type[Kind], site: str, answer: Answer) -> Kind:
    """What ``site`` answered, if it is a ``kind`` in its own name.

    Raises:
        MessageError: what is wrong with it, in words for the run's record.
    """
    record = answer.record
    if record is None:
        raise MessageError(answer.problem)
    if not isinstance(record, kind):
        raise MessageError(f"invalid reply: a {type(record).__name__} is no {kind.__name__}")
    if record.site != site:
        raise MessageError(f"invalid reply: it says that it is {record.site}")
    return record


def _replies(grid: Grid, waiting: Mapping[str, int], end: float) -> Iterator[Message]:
    """What comes until nobody in ``waiting`` is left, or the clock says ``end``.

    Each reply is pulled by itself. Of one that broke off half-way Flower waits for the rest for minutes, and
    all who answer meanwhile would count as late.
    """
    came: Queue[tuple[str, list[Message] | Exception]] = Queue()

    def pull(message: str) -> None:
        try:
            came.put((message, list(grid.pull_messages([message]))))
        except Exception as error:  # told in the thread that asks
            came.put((message, error))

    pulled: set[str] = set()
    pause = _FIRST_LOOK
    while waiting and (now := time.monotonic()) < end:
        for message in waiting.keys() - pulled:
            pulled.add(message)
            # A daemon, so that what is still waited for cannot keep the process from ending.
            Thread(target=pull, args=(message,), daemon=True).start()
        again = min(now + pause, end)
        while waiting and (left := again - time.monotonic()) > 0:
            try:
                message, replies = came.get(timeout=left)
            except Empty:
                break
            pulled.remove(message)
            if isinstance(replies, Exception):
                raise replies
            yield from replies
        pause = min(2 * pause, _SLOWEST_LOOK)


def _with_heads(question: Request, book: HeadBook) -> Request:
    """A node can answer under any name; of names that no study has there may be more than a record takes."""
    heads = [head for head in book.known if head.site in question.study.participants]
    return question.model_copy(update={"heads": tuple(heads[-MOST_HEADS:])})


def _answer(reply: Message, book: HeadBook) -> Answer:
    if reply.has_error():
        code = reply.error.code
        return Answer(None, f"its node reports error {code} ({_ERRORS.get(code, 'unknown')})")
    try:
        record = from_content(reply.content)
    except Exception as error:  # whatever one node sends, the others' answers must not be lost
        return Answer(None, f"invalid reply: {error}")
    # Where a relay did not reach its custodian there is no name and no log.
    if isinstance(record, Reply) and record.site:
        try:
            book.note(record.site, record.heads)
        except MessageError as error:
            return Answer(None, f"invalid reply: {error}")
    if isinstance(record, RefusalReply):
        text = f"{record.kind} by {record.rule}: {record.reason} (reference {record.reference})"
        return Answer(None, text, site=record.site, refused=record.kind == "refused")
    return Answer(record)
