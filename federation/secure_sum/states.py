"""What a site keeps between exchanges: a value, which is on its disk before its message leaves.

New -> Advertised -> Ready -> Training -> Masked -> Agreed -> Answered, and from Masked straight to Answered
where nobody dropped out. From Ready on, any later round may begin. ``round`` is burnt: it never begins again.
"""

import json
import struct
from collections.abc import Iterator
from typing import Annotated, cast, get_args

import numpy as np
from pydantic import Field

from federation.errors import SecureSumError
from federation.secure_sum.messages import (
    Advert,
    Agreement,
    Box,
    Hash,
    Key,
    MaskedVector,
    Message,
    OpenedShares,
    Sites,
)
from federation.secure_sum.transcript import digest_of_vector
from federation.study import Name


class Kept(Message):
    """Base of all states; how one prints tells no key."""

    def __repr_args__(self) -> Iterator[tuple[str | None, object]]:
        yield from ((name, value) for name, value in self if name in ("round", "survivors"))

    __str__ = Message.__repr__


class New(Kept):
    """Nothing has happened yet."""


class Advertised(Kept):
    """The site has told its key.

    Attributes:
        private: of its X25519 key; erased when the first round begins.
        reply: what it told.
    """

    private: Key
    reply: Advert


class Peer(Kept):
    """Another site.

    Attributes:
        key: its X25519 public key, by which an advert that changes it is noticed.
        chain: the key that both share, of the round after ``round``.
    """

    key: Key
    chain: Key


class Ready(Kept):
    """Rounds may begin.

    Attributes:
        peers: by name.
        round: the last one begun.
    """

    peers: dict[Name, Peer]
    round: Annotated[int, Field(ge=0)]


class Training(Ready):
    """The round has begun. On disk it is no more than Ready: who crashes now has lost the round.

    Attributes:
        cohort: of the round.
        context: of the round.
        chains: by peer in the cohort, this round's key.
    """

    cohort: Sites
    context: Hash
    chains: dict[Name, Key]


class Sent(Ready):
    """The masked vector may have left; until a later round begins, the same question gets the same bytes.

    Attributes:
        cohort: of the round.
        context: of the round.
        sent: what leaves in exchange A.
    """

    cohort: Sites
    context: Hash
    sent: MaskedVector


class Masked(Sent):
    """Nothing has been said of survivors.

    Attributes:
        openers: by peer, the key of the box that it sends.
        own: the site's own shares of its own secrets.
    """

    openers: dict[Name, Key]
    own: Box

    @property
    def reply(self) -> MaskedVector:
        """What leaves."""
        return self.sent


class Agreed(Sent):
    """The site has signed a survivor set.

    Attributes:
        survivors: the set.
        reply: the signature.
        held: what it will open once enough others have signed.
    """

    survivors: Sites
    reply: Agreement
    held: OpenedShares


class Answered(Sent):
    """The site has opened its shares, and opens no others in this round.

    Attributes:
        survivors: the set that it opened.
        reply: what it opened.
    """

    survivors: Sites
    reply: OpenedShares


State = New | Advertised | Ready | Training | Masked | Agreed | Answered


KINDS: dict[str, type[Message]] = {kind.__name__: kind for kind in get_args(State)}
_LENGTH = struct.Struct(">Q")


def to_bytes(state: State) -> bytes:
    """What is written to the site's disk; mode 0600, since it holds keys.

    The length of the JSON (8 bytes), the JSON, and the masked vector where the state has one.
    """
    if isinstance(state, Training):
        state = Ready(peers=state.peers, round=state.round)
    vector = state.sent.vector if isinstance(state, Sent) else np.empty(0, dtype=np.uint32)
    without = {"sent": {"vector"}} if isinstance(state, Sent) else None
    fields = {"kind": type(state).__name__, "state": state.model_dump(mode="json", exclude=without)}
    header = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    return b"".join((_LENGTH.pack(len(header)), header, vector.astype("<u4", copy=False).data))


def from_bytes(stored: bytes) -> State:
    """The state that ``to_bytes`` wrote.

    Raises:
        SecureSumError: it is none, whole and alone.
    """
    try:
        start = _LENGTH.size + _LENGTH.unpack_from(stored)[0]
        fields = json.loads(stored[_LENGTH.size : start])
        kind, values = KINDS[fields["kind"]], fields["state"]
        if issubclass(kind, Sent):
            values["sent"]["vector"] = np.frombuffer(stored, dtype="<u4", offset=start).copy()
        elif len(stored) != start:
            raise ValueError("bytes too many")
        state = cast(State, kind.model_validate(values))
        if isinstance(state, Sent) and digest_of_vector(state.sent.vector) != state.sent.commitment.vector:
            raise ValueError("another vector")
        return state
    except (struct.error, ValueError, KeyError, TypeError) as error:
        raise SecureSumError(
            "state", "", "the stored state of a secure sum is not whole; restore it, or end the study"
        ) from error
