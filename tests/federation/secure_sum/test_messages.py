import json

import numpy as np
import pytest
from federated import MODEL, Federation

from federation.errors import ConfigError
from federation.schema import validated
from federation.secure_sum.messages import Advert, Commitment, MaskedVector, OpenedShares, RoundRequest


@pytest.fixture(scope="module")
def messages():
    """One of each kind, from a round with a dropout."""
    federation = Federation(4, dropouts=1).advertise()
    summing = federation.coordinator.begin(1, MODEL)
    sent = {name: federation.masked(name, summing.request) for name in ("alder", "beech", "cedar")}
    for name, reply in sent.items():
        summing.add(name, reply)
    questions = summing.settle()
    agreements = {name: federation.answer(name, request) for name, request in questions.items()}
    for name, agreement in agreements.items():
        summing.agree(name, agreement)
    opening = summing.open_request()
    return [
        federation.coordinator.advert_request(),
        federation.coordinator.adverts["alder"],
        summing.request,
        sent["alder"],
        questions["alder"],
        agreements["alder"],
        opening,
        federation.open("alder", opening),
    ]


def test_each_comes_back_from_json_with_its_vector_beside_it(messages):
    for message in messages:
        beside = {"vector"} if isinstance(message, MaskedVector) else set()
        fields = json.loads(message.model_dump_json(exclude=beside))
        if beside:
            fields["vector"] = message.vector
        back = validated(type(message), fields, "message")
        assert back.model_dump_json(exclude=beside) == message.model_dump_json(exclude=beside)


def test_in_json_there_are_no_bytes_that_depend_on_an_encoding(messages):
    for message in messages:
        beside = {"vector"} if isinstance(message, MaskedVector) else None
        assert message.model_dump_json(exclude=beside).isascii()


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (Advert, {"key": "AAAA"}),
        (Advert, {"key": "not base64 at all!"}),
        (Advert, {"signature": ""}),
        (Advert, {"site": "../alder"}),
        (Advert, {"more": 1}),
        (RoundRequest, {"round": 0}),
        (RoundRequest, {"round": 2**16 + 1}),
        (RoundRequest, {"cohort": ["alder"] * 201}),
        (OpenedShares, {"of_self": {"alder": "AAAA"}}),
        (OpenedShares, {"of_pairs": {"alder": {"beech": "AAAA"}}}),
        (MaskedVector, {"boxes": {"beech": "A" * 10_000}}),
        (MaskedVector, {"vector": [1, 2, 3]}),
        (Commitment, {"context": "AAAA"}),
    ],
)
def test_what_is_too_short_too_long_or_of_another_kind_is_refused(messages, kind, change):
    whole = {type(message): message for message in messages}
    whole[Commitment] = whole[MaskedVector].commitment
    beside = {"vector"} if kind is MaskedVector else None
    fields = json.loads(whole[kind].model_dump_json(exclude=beside))
    if beside:
        fields["vector"] = np.zeros(1, np.uint32)
    validated(kind, fields, "message")
    with pytest.raises(ConfigError, match=f"message.{next(iter(change))}"):
        validated(kind, {**fields, **change}, "message")
