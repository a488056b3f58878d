"""What travels between coordinator and sites; bytes are base64 in JSON, a vector stands beside it.

Exchange 0, once: ``AdvertRequest`` -> ``Advert``. A, every round: ``RoundRequest`` -> ``MaskedVector``.
B: ``SurvivorsRequest`` -> ``OpenedShares`` where nobody dropped out, else ``Agreement``. C, after a dropout:
``OpenRequest`` -> ``OpenedShares``.
"""

import base64
from typing import Annotated

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer

from federation.audit_log import Digest
from federation.schema import Frozen
from federation.secure_sum.parties import MOST_ROUNDS, MOST_SITES
from federation.secure_sum.shamir import SHARE_BYTES
from federation.secure_sum.transcript import Words
from federation.study import Name


def _decoded(value: object) -> object:
    return base64.b64decode(value, validate=True) if isinstance(value, str) else value


def _encoded(value: bytes) -> str:
    return base64.b64encode(value).decode()


_Bytes = Annotated[bytes, BeforeValidator(_decoded), PlainSerializer(_encoded, when_used="json")]
Key = Annotated[_Bytes, Field(min_length=32, max_length=32)]
Hash = Annotated[_Bytes, Field(min_length=32, max_length=32)]
Signed = Annotated[_Bytes, Field(min_length=64, max_length=64)]
Share = Annotated[_Bytes, Field(min_length=SHARE_BYTES, max_length=SHARE_BYTES)]
Box = Annotated[_Bytes, Field(max_length=SHARE_BYTES * MOST_SITES + 16)]
Sites = Annotated[tuple[Name, ...], Field(max_length=MOST_SITES)]
Round = Annotated[int, Field(ge=1, le=MOST_ROUNDS)]


class Message(Frozen):
    """Base of all of them."""

    # A secret in a malformed record stays out of logs.
    model_config = ConfigDict(arbitrary_types_allowed=True, hide_input_in_errors=True)


class AdvertRequest(Message):
    """Take part in the secure sums of a plan.

    Attributes:
        plan: its digest as hex digits.
    """

    plan: Digest


class Advert(Message):
    """A site's key for this plan.

    Attributes:
        site: its name.
        key: its X25519 public key, raw.
        signature: by the site's key in the roster, over plan, site and key.
    """

    site: Name
    key: Key
    signature: Signed


class RoundRequest(Message):
    """Train, and send the result masked.

    Attributes:
        round: its number; it rises, also when a round is tried again.
        cohort: the sites that are asked, sorted.
        adverts: in a site's first round, those of all sites that will ever take part with it.
    """

    round: Round
    cohort: Sites
    adverts: Annotated[tuple[Advert, ...], Field(max_length=MOST_SITES)] = ()


class Commitment(Message):
    """A site's word on what it sent in a round.

    Attributes:
        site: its name.
        context: of the round as the site sees it.
        vector: SHA-256 of its masked vector.
        boxes: SHA-256 of its boxes.
        secrets: SHA-256 of the digests of what it shared.
        signature: by its key in the roster, over all of that.
    """

    site: Name
    context: Hash
    vector: Hash
    boxes: Hash
    secrets: Hash
    signature: Signed


class MaskedVector(Message):
    """What a site sends in a round.

    Attributes:
        round: the round asked for.
        vector: uint32 ``[m + 1]``, masked.
        boxes: for each peer in the cohort, its shares.
        secrets: digests of the seed of the self mask, then of those with each peer, in the cohort's order.
        commitment: to all of it.
    """

    round: Round
    vector: Words
    boxes: Annotated[dict[Name, Box], Field(max_length=MOST_SITES)]
    secrets: Annotated[tuple[Hash, ...], Field(max_length=MOST_SITES)]
    commitment: Commitment


class SurvivorsRequest(Message):
    """These sites' vectors are in the sum.

    Attributes:
        round: the round in question.
        survivors: they, sorted.
        commitments: one of each survivor, in the same order.
        boxes: those addressed to the site, by sender, of each other survivor.
    """

    round: Round
    survivors: Sites
    commitments: Annotated[tuple[Commitment, ...], Field(max_length=MOST_SITES)]
    boxes: Annotated[dict[Name, Box], Field(max_length=MOST_SITES)]


class Agreement(Message):
    """A site's signature on the one survivor set that it will ever open in this round.

    Attributes:
        site: its name.
        round: the round in question.
        signature: by its key in the roster, over context and survivors.
    """

    site: Name
    round: Round
    signature: Signed


class OpenRequest(Message):
    """Enough sites have signed this survivor set; open it.

    Attributes:
        round: the round in question.
        survivors: they, sorted.
        signatures: by site.
    """

    round: Round
    survivors: Sites
    signatures: Annotated[dict[Name, Signed], Field(max_length=MOST_SITES)]


class OpenedShares(Message):
    """A site's shares of what opens the sum over the survivors.

    Attributes:
        site: its name.
        round: the round in question.
        of_self: by survivor, of the seed of its self mask.
        of_pairs: by survivor and site that dropped out, of the seed of their pair, as the survivor shared it.
    """

    site: Name
    round: Round
    of_self: Annotated[dict[Name, Share], Field(max_length=MOST_SITES)]
    of_pairs: dict[Name, dict[Name, Share]] = Field(default_factory=dict)
