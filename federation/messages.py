"""What travels between coordinator and hospitals: typed records, and nothing that is not one.

A record is JSON beside at most one flat array: the parameters of a model, float32, or a masked vector,
uint32. In a Flower message it is a ``RecordDict`` with the configuration record ``record`` (keys ``kind`` and
``json``) and, where there is an array, the array record ``arrays`` with that one, by its name.
"""

import json
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, get_args

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from federation.audit_log import AuditHead
from federation.errors import ConfigError, MessageError
from federation.npy import from_npy
from federation.schema import Frozen, validated
from federation.secure_sum.messages import (
    Advert,
    AdvertRequest,
    Agreement,
    Box,
    Commitment,
    Hash,
    MaskedVector,
    OpenedShares,
    OpenRequest,
    RoundRequest,
    SurvivorsRequest,
)
from federation.secure_sum.parties import MOST_SITES
from federation.secure_sum.transcript import Words
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


@dataclass(frozen=True)
class FlatArray:
    """The array beside a kind of record.

    Attributes:
        name: of the field.
        dtype: as numpy calls it; little-endian where it travels.
    """

    name: str
    dtype: Literal["float32", "uint32"]


PARAMETERS, VECTOR = FlatArray("parameters", "float32"), FlatArray("vector", "uint32")


class Record(Frozen):
    """Base of all records.

    Attributes:
        array: what this kind has besides JSON; None for nothing.
        heads: the newest audit heads that the sender holds, its own among them.
    """

    # A share of a secret in a malformed record stays out of logs.
    model_config = ConfigDict(arbitrary_types_allowed=True, hide_input_in_errors=True)
    array: ClassVar[FlatArray | None] = None
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


class KeysRequest(Record):
    """With which key do you take part in the secure sums of this study? Exchange 0."""

    study: Study
    question: AdvertRequest


class KeysReply(Record):
    """A site's key for the secure sums of one study."""

    site: Name
    advert: Advert


class TrainRequest(Record):
    """Train on this model; ``parameters`` are all of its parameters, float32 ``[all]``.

    Attributes:
        sum: exchange A of the round; None where updates travel each by itself.
    """

    array: ClassVar[FlatArray | None] = PARAMETERS
    study: Study
    round: Annotated[int, Field(ge=1)]
    parameters: Parameters
    sum: RoundRequest | None = None


class TrainReply(Record):
    """What a round of training released.

    Attributes:
        site: its name.
        round: the round asked for.
        steps: optimiser steps charged in this study so far, from which everybody computes the same ε.
        parameters: the change of the trainable parameters, float32 ``[trainable]``.
    """

    array: ClassVar[FlatArray | None] = PARAMETERS
    site: Name
    round: int
    steps: Annotated[int, Field(ge=1)]
    parameters: Parameters


class MaskedReply(Record):
    """What a round of training, or the evaluation, released into a secure sum.

    Attributes:
        site: its name.
        round: the one of the sum.
        steps: optimiser steps charged in this study so far; 0 where it is the evaluation.
        boxes: for each peer in the cohort, its shares.
        secrets: digests of what was shared; see ``MaskedVector``.
        commitment: to all of it.
        vector: uint32 ``[m + 1]``, masked.
    """

    array: ClassVar[FlatArray | None] = VECTOR
    site: Name
    round: int
    steps: Annotated[int, Field(ge=0)]
    boxes: Annotated[dict[Name, Box], Field(max_length=MOST_SITES)]
    secrets: Annotated[tuple[Hash, ...], Field(max_length=MOST_SITES)]
    commitment: Commitment
    vector: Words

    @classmethod
    def of(cls, site: str, steps: int, masked: MaskedVector) -> "MaskedReply":
        """What ``site`` sends of ``masked``."""
        return cls(site=site, steps=steps, **dict(masked))

    @property
    def masked(self) -> MaskedVector:
        """The message of the secure sum; unlike a record it has bounds on its round.

        Raises:
            MessageError: the round is none.
        """
        fields = {name: getattr(self, name) for name in MaskedVector.model_fields}
        try:
            return validated(MaskedVector, fields, type(self).__name__)
        except ConfigError as error:
            raise MessageError(str(error)) from error


class UnmaskRequest(Record):
    """These sites' vectors are in the sum: exchange B, or C after a dropout."""

    study: Study
    question: SurvivorsRequest | OpenRequest


class UnmaskReply(Record):
    """What opens a sum over the survivors, and nothing less; or a signature on who they are."""

    site: Name
    answer: OpenedShares | Agreement


class EvaluateRequest(Record):
    """How does this model do on held-out patients? ``parameters`` are all of it, float32 ``[all]``.

    Attributes:
        sum: as in ``TrainRequest``.
    """

    array: ClassVar[FlatArray | None] = PARAMETERS
    study: Study
    parameters: Parameters
    sum: RoundRequest | None = None


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


Request = DescribeRequest | KeysRequest | TrainRequest | UnmaskRequest | EvaluateRequest
Reply = DescribeReply | KeysReply | TrainReply | MaskedReply | UnmaskReply | EvaluateReply | RefusalReply

_KINDS: dict[str, type[Record]] = {kind.__name__: kind for kind in (*get_args(Request), *get_args(Reply))}


@dataclass(frozen=True)
class _Wire:
    """The names inside a Flower ``RecordDict``."""

    record: str = "record"
    arrays: str = "arrays"


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
    return record.model_dump_json(exclude=None if record.array is None else {record.array.name})


def array_of(record: Record) -> NDArray[Any] | None:
    """The array of ``record``, without gaps; None where its kind has none."""
    if record.array is None:
        return None
    return np.ascontiguousarray(getattr(record, record.array.name), dtype=record.array.dtype)


def record_of(kind: type[Record], fields: str, array: NDArray[Any] | None) -> Record:
    """The record that ``fields_of`` made ``fields`` of, with its array where it has one.

    Raises:
        MessageError: they are no ``kind``, whole and alone.
    """
    if (kind.array is None) != (array is None):
        raise MessageError(f"a {kind.__name__} {'without' if array is None else 'with'} an array")
    try:
        values = json.loads(fields)
        if kind.array is not None:
            name = kind.array.name
            if name in values:
                raise MessageError(f"a {kind.__name__} with {name} in its JSON; they stand beside it")
            values[name] = array
        return validated(kind, values, kind.__name__)
    except (ConfigError, ValueError, TypeError, RecursionError) as error:
        raise MessageError(f"a {kind.__name__} is malformed: {error}") from error


def to_content(record: Record) -> RecordDict:
    """``record`` as the content of a Flower message."""
    config = ConfigRecord({"kind": type(record).__name__, "json": fields_of(record)})
    content = RecordDict({WIRE.record: config})
    array = array_of(record)
    if record.array is not None and array is not None:
        content[WIRE.arrays] = ArrayRecord({record.array.name: Array(array)})
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
    expected = {WIRE.record} if kind.array is None else {WIRE.record, WIRE.arrays}
    if set(content) != expected or set(config) != {"kind", "json"}:
        raise MessageError(f"a {kind.__name__} with records {sorted(content)}; it has {sorted(expected)}")
    array = None if kind.array is None else _array(content.array_records.get(WIRE.arrays), kind.array)
    return record_of(kind, str(config["json"]), array)


def _array(arrays: ArrayRecord | None, kind: FlatArray) -> NDArray[Any]:
    """The one flat array, of which every byte is accounted for; it is never a pickle."""
    if arrays is None or list(arrays) != [kind.name]:
        raise MessageError(f"arrays named {sorted(arrays or [])}; there is one, {kind.name!r}")
    array = arrays[kind.name]
    if array.stype != "numpy.ndarray":
        raise MessageError(f"an array serialised as {array.stype!r}; only 'numpy.ndarray' is read")
    try:
        values = from_npy(array.data)
    except ValueError as error:
        raise MessageError(f"an array of {len(array.data)} bytes is malformed: {error}") from error
    if values.dtype != np.dtype(kind.dtype) or values.ndim != 1:
        raise MessageError(
            f"{kind.name} of {values.dtype}{list(values.shape)}; they are {kind.dtype} [numbers]"
        )
    told = (array.dtype, tuple(array.shape))
    if told != (kind.dtype, values.shape):
        raise MessageError(f"{told} is not what an array of {kind.dtype}{list(values.shape)} says of itself")
    return values
