import base64
import io
import json
import struct

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from federation.config import compose_run
from federation.errors import MessageError
from federation.messages import (
    BINS,
    DescribeReply,
    DescribeRequest,
    EvaluateReply,
    EvaluateRequest,
    RefusalReply,
    TrainReply,
    TrainRequest,
    UnmaskReply,
    from_content,
    record_of,
    to_content,
)

STUDY = compose_run().study
NUMBERS = np.array([0.0, -0.0, 1.5, -3e38, 1e-45, np.pi], dtype=np.float32)


def reply(parameters=NUMBERS):
    return TrainReply(site="alder", round=3, steps=30, parameters=parameters)


RECORDS = [
    DescribeRequest(study=STUDY),
    DescribeReply(site="alder", declared_patients=40, description="CT slices of 1,25 mm – ünïcode"),
    TrainRequest(study=STUDY, round=1, parameters=NUMBERS),
    reply(),
    EvaluateRequest(study=STUDY, parameters=NUMBERS),
    EvaluateReply(site="alder", healthy=(0.25,) * BINS, diseased=(-1.5,) * BINS),
    RefusalReply(site="", kind="failed", rule="x", reason="ε > 3", reference="0123"),
]


def records(**changes):
    """The content of a good reply, with records changed or added; None takes one away."""
    content = dict(to_content(reply())) | changes
    return RecordDict({name: record for name, record in content.items() if record is not None})


def config(**changes):
    """The same with entries of the configuration record changed."""
    entries = dict(to_content(reply())["record"]) | changes
    return records(record=ConfigRecord({key: value for key, value in entries.items() if value is not None}))


def npy(array, **settings):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **settings)
    return file.getvalue()


def array(data=None, dtype="float32", shape=(6,), stype="numpy.ndarray", name="parameters"):
    return records(
        arrays=ArrayRecord({name: Array(dtype, shape, stype, npy(NUMBERS) if data is None else data)})
    )


def header(text):
    padded = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded.encode("latin-1")


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_every_kind_of_record_arrives_as_it_left(record):
    arrived = from_content(to_content(record))
    assert type(arrived) is type(record)
    assert arrived.model_dump(exclude={"parameters"}) == record.model_dump(exclude={"parameters"})
    if record.array:
        assert arrived.parameters.tobytes() == record.parameters.tobytes(), "bit for bit"


@given(st.binary(max_size=400))
def test_parameters_arrive_bit_for_bit_whatever_they_are(content):
    sent = np.frombuffer(content[: len(content) // 4 * 4], dtype=np.float32)
    arrived = from_content(to_content(reply(sent))).parameters
    assert (arrived.dtype, arrived.shape) == (np.float32, sent.shape)
    assert arrived.tobytes() == sent.tobytes()


def test_a_study_arrives_with_its_id():
    assert from_content(to_content(DescribeRequest(study=STUDY))).study.id == STUDY.id


def test_the_helpers_of_this_test_make_good_messages():
    for content in (records(), config(), array()):
        assert from_content(content).site == "alder"


GOOD_JSON = str(to_content(reply())["record"]["json"])
REFUSED = {
    "nothing": RecordDict(),
    "no configuration": records(record=None),
    "no array": records(arrays=None),
    "another record beside it": records(more=ConfigRecord({"a": 1})),
    "metrics beside it": records(more=MetricRecord({"a": 1.0})),
    "an array beside a record without one": RecordDict(
        {**to_content(RECORDS[1]), "arrays": to_content(reply())["arrays"]}
    ),
    "metrics in the place of the array": records(arrays=MetricRecord({"parameters": 1.0})),
    "metrics in the place of the configuration": records(record=MetricRecord({"kind": 1})),
    "unknown kind": config(kind="Shell"),
    "a kind that is an internal name": config(kind="Record"),
    "a kind that is a list": config(kind=["TrainReply"]),
    "a kind in bytes": config(kind=b"TrainReply"),
    "no kind": config(kind=None),
    "no JSON": config(json=None),
    "another entry": config(note="Erika Mustermann"),
    "JSON cut off": config(json=GOOD_JSON[:-1]),
    "JSON of a list": config(json="[]"),
    "JSON of a number": config(json="5"),
    "JSON that is null": config(json="null"),
    "JSON that is a number": config(json=5),
    "JSON in bytes": config(json=GOOD_JSON.encode()),
    "JSON in a list": config(json=[GOOD_JSON]),
    "JSON that never ends": config(json="[" * 200_000),
    "a field too many": config(json=GOOD_JSON[:-1] + ',"patient":"Erika Mustermann"}'),
    "a field too few": config(json='{"site":"alder","round":1}'),
    "parameters in the JSON": config(json=GOOD_JSON[:-1] + ',"parameters":[1,2]}'),
    "a field of another type": config(json=GOOD_JSON.replace("30", '"many"')),
    "a number that is none": config(json=GOOD_JSON.replace("30", "NaN")),
    "a site that is a path": config(json=GOOD_JSON.replace("alder", "../alder")),
    "two arrays": records(arrays=ArrayRecord({"parameters": Array(NUMBERS), "images": Array(NUMBERS)})),
    "no arrays in the record": records(arrays=ArrayRecord({})),
    "an array of another name": array(name="images"),
    "float64": array(npy(NUMBERS.astype(np.float64)), dtype="float64"),
    "float16": array(npy(np.zeros(6, np.float16)), dtype="float16"),
    "integers": array(npy(np.arange(6, dtype=np.int32)), dtype="int32"),
    "big endian": array(npy(NUMBERS.astype(">f4"))),
    "two dimensions": array(npy(NUMBERS.reshape(2, 3)), shape=(2, 3)),
    "no dimension": array(npy(np.float32(1)), shape=()),
    "a structured array": array(npy(np.zeros(6, dtype=[("a", "<f4")]))),
    "objects": array(npy(np.array([{"a": 1}]), allow_pickle=True), dtype="object", shape=(1,)),
    "a pickle": array(b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00.", stype="pickle"),
    "a pickle that says it is an array": array(b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00."),
    "a tensor of torch": array(stype="torch.Tensor"),
    "an archive": array(b"PK\x03\x04" + bytes(26)),
    "no bytes": array(b""),
    "bytes cut off": array(npy(NUMBERS)[:-1]),
    "bytes behind the array": array(npy(NUMBERS) + b"Erika Mustermann"),
    "a name where the type is told": array(dtype="Erika Mustermann"),
    "another shape than it has": array(shape=(1985, 3)),
    "another version of the format": array(npy(NUMBERS, version=(2, 0))),
    "a header that is no header": array(header("{'descr': '<f4'")),
    "a header that is a program": array(header("__import__('os').abort()")),
    "a header of more than there is": array(
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000000,), }"), shape=(10**13,)
    ),
    "a header of less than nothing": array(
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }"), shape=(-1,)
    ),
}


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED.keys())
def test_anything_else_is_refused(content):
    with pytest.raises(MessageError):
        from_content(content)


@given(st.integers(0, 500), st.integers(0, 255))
def test_a_changed_byte_of_an_array_is_another_number_or_refused(position, byte):
    data = bytearray(npy(NUMBERS))
    data[position % len(data)] = byte
    try:
        arrived = from_content(array(bytes(data)))
    except MessageError:
        return
    assert arrived.parameters.shape == NUMBERS.shape


@given(st.text(max_size=60) | st.binary(max_size=60) | st.integers(-(2**60), 2**60))
def test_no_json_raises_anything_but_the_one_error(content):
    with pytest.raises(MessageError):
        from_content(config(json=content))


def test_a_share_of_a_secret_that_is_malformed_is_not_repeated():
    share = base64.b64encode(bytes(range(31))).decode()
    shares = {"site": "alder", "round": 1, "of_self": {"alder": share}}
    with pytest.raises(MessageError, match=r"of_self\.alder") as caught:
        record_of(UnmaskReply, json.dumps({"site": "alder", "answer": shares}), None)
    assert share[:8] not in str(caught.value)


def test_what_was_received_may_be_worked_on():
    from_content(to_content(reply())).parameters[0] = 1
