"""What travels between coordinator and hospitals: typed records, and nothing that is not one.

A record is JSON beside at most one flat float32 array, the parameters of a model. In a Flower message it is a
``RecordDict`` with the configuration record ``record`` (keys ``kind`` and ``json``) and, where there is an
array, the array record ``arrays`` with the one array ``parameters``.
"""

import io
import json
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, get_args

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from federation.audit_log import AuditHead
from federation.errors import ConfigError, MessageError
from federation.schema import Frozen, validated
from federation.study import Name, Study

Parameters = NDArray[np.float32]

BIN_EDGES = (-8.0, -4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0, 8.0)
"""Between the bins of a score histogram, in log odds; sure models crowd their probabilities near 0 and 1."""

BINS = len(BIN_EDGES) + 1

MOST_HEADS = 200
"""Audit heads that one record may have."""

Counts = Annotated[
    tuple[Annotated[float, Field(ge=-1e9, le=1e9)], ...], Field(min_length=BINS, max_length=BINS)
]


class Record(Frozen):
    """Base of all records; ``parameters`` is the flat array where the kind of record has one.

    Attributes:
        has_parameters: whether this kind carries an array.
        heads: the newest audit heads that the sender holds, its own among them.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)
    has_parameters: ClassVar[bool] = False
    heads: Annotated[tuple[AuditHead, ...], Field(max_length=MOST_HEADS)] = ()


class DescribeRequest(Record):
    """Who are you, and will you take part in this study?"""

    study: Study


class DescribeReply(Record):
    """A site that is willing to take part.

    Attributes:
        site: its name.
        declared_patients: its public cohort size, coarse on purpose; the weight of its updates.
        description: what sets its data apart, as the site wants it known.
    """

    site: Name
    declared_patients: Annotated[int, Field(ge=1, le=100_000_000)]
    description: str = ""


class TrainRequest(Record):
    """Train on this model; ``parameters`` are all of its parameters, float32 ``[all]``."""

    has_parameters: ClassVar[bool] = True
    study: Study
    round: Annotated[int, Field(ge=1)]
    parameters: Parameters


class TrainReply(Record):
    """What a round of training released.

    Attributes:
        site: its name.
        round: the round asked for.
        steps: optimiser steps charged in this study so far, from which everybody computes the same ε.
        parameters: the change of the trainable parameters, float32 ``[trainable]``.
    """

    has_parameters: ClassVar[bool] = True
    site: Name
    round: int
    steps: Annotated[int, Field(ge=1)]
    parameters: Parameters


class EvaluateRequest(Record):
    """How does this model do on held-out patients? ``parameters`` are all of it, float32 ``[all]``."""

    has_parameters: ClassVar[bool] = True
    study: Study
    parameters: Parameters


class EvaluateReply(Record):
    """How often each score occurs among a site's held-out patients, with the study's noise.

    A patient's score is the highest log odds that any of their images has of not being healthy; ``BIN_EDGES``
    stand between the bins, and a score on an edge is in the bin above.

    Attributes:
        site: its name.
        healthy: of patients all of whose images are healthy; with noise, so below zero, too.
        diseased: of the others.
    """

    site: Name
    healthy: Counts
    diseased: Counts


class RefusalReply(Record):
    """A site says no.

    Attributes:
        site: its name; empty where not even its custodian was reached.
        kind: ``refused`` by a rule of the site, or ``failed`` on its way.
        rule: which rule, or which kind of failure.
        reason: what the site is willing to say about it.
        reference: finds the full story in the site's own log.
    """

    site: str
    kind: Literal["refused", "failed"]
    rule: str
    reason: str
    reference: str


Request = DescribeRequest | TrainRequest | EvaluateRequest
Reply = DescribeReply | TrainReply | EvaluateReply | RefusalReply

_KINDS: dict[str, type[Record]] = {kind.__name__: kind for kind in (*get_args(Request), *get_args(Reply))}


@dataclass(frozen=True)
class _Wire:
    """The names inside a Flower ``RecordDict``."""

    record: str = "record"
    arrays: str = "arrays"
    parameters: str = "parameters"


WIRE = _Wire()


def kind_named(name: object) -> type[Record]:
    """The kind of record called ``name``.

    Raises:
        MessageError: there is none.
    """
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise MessageError(f"a record of kind {name!r} is not one of {sorted(_KINDS)}")
    return kind


def fields_of(record: Record) -> str:
    """All of ``record`` but its array, as JSON."""
    return record.model_dump_json(exclude={"parameters"} if record.has_parameters else None)


def parameters_of(record: Record) -> Parameters | None:
    """The array of ``record``, without gaps; None where its kind has none."""
    if not record.has_parameters:
        return None
    return np.ascontiguousarray(getattr(record, "parameters"), dtype=np.float32)  # noqa: B009


def record_of(kind: type[Record], fields: str, parameters: Parameters | None) -> Record:
    """The record that ``fields_of`` made ``fields`` of, with its array where it has one.

    Raises:
        MessageError: they are no ``kind``, whole and alone.
    """
    if kind.has_parameters != (parameters is not None):
        raise MessageError(f"a {kind.__name__} {'without' if parameters is None else 'with'} parameters")
    try:
        values = json.loads(fields)
        if parameters is not None:
            if "parameters" in values:
                raise MessageError(f"a {kind.__name__} with parameters in its JSON; they stand beside it")
            values["parameters"] = parameters
        return validated(kind, values, kind.__name__)
    except (ConfigError, ValueError, TypeError, RecursionError) as error:
        raise MessageError(f"a {kind.__name__} is malformed: {error}") from error


def to_content(record: Record) -> RecordDict:
    """``record`` as the content of a Flower message."""
    config = ConfigRecord({"kind": type(record).__name__, "json": fields_of(record)})
    content = RecordDict({WIRE.record: config})
    parameters = parameters_of(record)
    if parameters is not None:
        content[WIRE.arrays] = ArrayRecord({WIRE.parameters: Array(parameters)})
    return content


def from_content(content: RecordDict) -> Record:
    """The record in the content of a Flower message.

    Raises:
        MessageError: it is not one of the records of this module, whole and alone.
    """
    config = content.config_records.get(WIRE.record)
    if config is None:
        raise MessageError(f"a message with records {sorted(content)}; it has {WIRE.record!r}")
    kind = kind_named(config.get("kind"))
    expected = {WIRE.record, WIRE.arrays} if kind.has_parameters else {WIRE.record}
    if set(content) != expected or set(config) != {"kind", "json"}:
        raise MessageError(f"a {kind.__name__} with records {sorted(content)}; it has {sorted(expected)}")
    parameters = _parameters(content.array_records.get(WIRE.arrays)) if kind.has_parameters else None
    return record_of(kind, str(config["json"]), parameters)


def _parameters(arrays: ArrayRecord | None) -> Parameters:
    """The one flat array, of which every byte is accounted for; it is never a pickle."""
    if arrays is None or list(arrays) != [WIRE.parameters]:
        raise MessageError(f"arrays named {sorted(arrays or [])}; there is one, {WIRE.parameters!r}")
    array = arrays[WIRE.parameters]
    if array.stype != "numpy.ndarray":
        raise MessageError(f"an array serialised as {array.stype!r}; only 'numpy.ndarray' is read")
    file = io.BytesIO(array.data)
    try:
        version = np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    except Exception as error:  # numpy parses the header as Python, with as many kinds of errors
        raise MessageError(f"an array of {len(array.data)} bytes that is no .npy file: {error}") from error
    if version != (1, 0) or dtype != np.float32 or len(shape) != 1:
        raise MessageError(f"parameters of {dtype}{list(shape)}; they are float32 [parameters]")
    told = (array.dtype, tuple(array.shape), len(array.data) - file.tell())
    if told != ("float32", shape, 4 * shape[0]):
        raise MessageError(f"{told} is not what an array of float32{list(shape)} says of itself")
    return np.frombuffer(array.data, dtype=np.float32, offset=file.tell()).copy()
