import json
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_app.wire import MOST_HEADER, OPERATIONS, from_bytes, to_bytes
from federation.config import compose_run
from federation.errors import MessageError
from federation.messages import (
    DescribeReply,
    DescribeRequest,
    EvaluateRequest,
    KeysRequest,
    RefusalReply,
    TrainReply,
    TrainRequest,
    UnmaskRequest,
    fields_of,
)

STUDY = compose_run().study
NUMBERS = np.array([0.0, -0.0, 1.5, -3e38, 1e-45, np.pi], dtype=np.float32)
REPLY = TrainReply(site="alder", round=3, steps=30, parameters=NUMBERS)
RECORDS = [
    DescribeRequest(study=STUDY),
    DescribeReply(site="alder", declared_patients=40, description="CT slices of 1,25 mm – ünïcode"),
    TrainRequest(study=STUDY, round=1, parameters=NUMBERS),
    REPLY,
    RefusalReply(site="", kind="failed", rule="x", reason="ε > 3", reference="0123"),
]
READ_ONLY, GIVEN_AWAY = bytes, bytearray


def body(header=None, length=None, filling=0):
    """The bytes of a good reply, with parts of them changed."""
    header = json.dumps({"kind": "TrainReply", "json": fields_of(REPLY)}) if header is None else header
    header = header.encode() if isinstance(header, str) else header
    header += b" " * ((-len(header) % 4) + filling)
    return struct.pack(">I", len(header) if length is None else length) + header + NUMBERS.tobytes()


def head(kind="TrainReply", fields=None, **more):
    return json.dumps({"kind": kind, "json": fields_of(REPLY) if fields is None else fields, **more})


@pytest.mark.parametrize("held", [READ_ONLY, GIVEN_AWAY])
@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_every_kind_of_record_arrives_as_it_left(record, held):
    arrived = from_bytes(held(to_bytes(record)))
    assert type(arrived) is type(record)
    assert fields_of(arrived) == fields_of(record)
    if record.array:
        assert arrived.parameters.tobytes() == record.parameters.tobytes(), "bit for bit"


@given(st.binary(max_size=400))
def test_parameters_arrive_bit_for_bit_whatever_they_are(content):
    sent = np.frombuffer(content[: len(content) // 4 * 4], dtype=np.float32)
    arrived = from_bytes(to_bytes(REPLY.model_copy(update={"parameters": sent}))).parameters
    assert (arrived.dtype, arrived.shape) == (np.float32, sent.shape)
    assert arrived.tobytes() == sent.tobytes()


def test_numbers_that_lie_apart_arrive_too():
    apart = np.arange(12, dtype=np.float32)[::2]
    arrived = from_bytes(to_bytes(REPLY.model_copy(update={"parameters": apart}))).parameters
    assert arrived.tolist() == apart.tolist()


@pytest.mark.parametrize("site", ["a", "ab", "abc", "abcd"])
@pytest.mark.parametrize("held", [READ_ONLY, GIVEN_AWAY])
def test_what_was_received_may_be_worked_on_and_lies_as_processors_want_it(site, held):
    arrived = from_bytes(held(to_bytes(REPLY.model_copy(update={"site": site})))).parameters
    assert arrived.flags.writeable
    assert arrived.flags.aligned
    arrived[0] = 1


def test_what_is_given_away_is_not_copied():
    received = bytearray(to_bytes(REPLY))
    assert np.shares_memory(from_bytes(received).parameters, np.frombuffer(received, dtype=np.uint8))


def test_the_helpers_of_this_test_make_a_good_body():
    assert body() == body(head()) == to_bytes(REPLY)
    assert fields_of(from_bytes(body(filling=4))) == fields_of(REPLY)


def test_every_request_is_an_operation_and_nothing_else_is():
    expected = {
        "describe": DescribeRequest,
        "keys": KeysRequest,
        "train": TrainRequest,
        "unmask": UnmaskRequest,
        "evaluate": EvaluateRequest,
    }
    assert expected == OPERATIONS


REFUSED = {
    "nothing": b"",
    "half a length": b"\0\0",
    "a length alone": b"\0\0\0\x04",
    "no header": b"\0\0\0\0",
    "no header, and numbers": body("", length=0),
    "a header longer than the body": body(length=2**32 - 1),
    "a header that ends within the numbers": body(length=len(head()) // 4 * 4 + 8),
    "a header that is cut off": body(length=40),
    "a header of no multiple of four bytes": body(filling=1),
    "a header without end": body(filling=MOST_HEADER),
    "a header that nests without end": body("[" * 100_000),
    "fields that nest without end": body(head(fields="[" * 100_000)),
    "a header that is no text": body(b"\xff\xfe\xfd\xfc"),
    "a header that is a list": body("[]"),
    "a header that is a list of pairs": body('[["kind", "TrainReply"], ["json", "{}"]]'),
    "a header that is a number": body("5"),
    "a number that is none": body("NaN"),
    "no kind": body(json.dumps({"json": fields_of(REPLY)})),
    "no fields": body(json.dumps({"kind": "TrainReply"})),
    "one key more": body(head(patient="Erika Mustermann")),
    "a key twice": body(head().replace('"json"', '"json": "Erika Mustermann", "json"', 1)),
    "the keys the other way about": body(json.dumps({"json": fields_of(REPLY), "kind": "TrainReply"})),
    "an unknown kind": body(head(kind="Shell")),
    "a kind that is the base of all": body(head(kind="Record")),
    "a kind that is a list": body(head(kind=["TrainReply"])),
    "fields that are no text": body(head(fields={"site": "alder"})),
    "fields cut off": body(head(fields=fields_of(REPLY)[:-1])),
    "a list of fields": body(head(fields="[]")),
    "fields that are null": body(head(fields="null")),
    "a field too many": body(head(fields=fields_of(REPLY)[:-1] + ',"patient":"Erika Mustermann"}')),
    "a field that is not finite": body(head(fields=fields_of(REPLY).replace("30", "NaN"))),
    "a field of five thousand digits": body(head(fields=fields_of(REPLY).replace("30", "3" * 5000))),
    "parameters among the fields": body(head(fields=fields_of(REPLY)[:-1] + ',"parameters":[1.0]}')),
    "a byte too few": body()[:-1],
    "a byte too many": body() + b"\0",
    "an array behind a kind without one": to_bytes(RECORDS[0]) + NUMBERS.tobytes(),
    "a pickle": pickle.dumps(REPLY),
    "an array of objects": b"\x93NUMPY" + pickle.dumps({}),
}


@pytest.mark.parametrize("held", [READ_ONLY, GIVEN_AWAY])
@pytest.mark.parametrize("received", REFUSED.values(), ids=REFUSED.keys())
def test_anything_else_is_refused(received, held):
    with pytest.raises(MessageError):
        from_bytes(held(received))


@given(st.binary(max_size=300))
def test_random_bytes_raise_nothing_but_the_one_error(received):
    with pytest.raises(MessageError):
        from_bytes(received)


@given(st.data())
def test_a_changed_body_is_another_record_of_as_many_numbers_or_refused(data):
    changed = bytearray(body())
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        arrived = from_bytes(changed)
    except MessageError:
        return
    assert arrived.parameters.shape == NUMBERS.shape
