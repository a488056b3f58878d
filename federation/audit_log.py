"""A hospital's audit log: entries that each name the one before, and signed heads that others keep.

Whoever holds a head can prove what the log said up to there: every entry names the SHA-256 of its
predecessor, so an entry that is changed, left out or put elsewhere changes every hash after it, and the head
signs the last one. What came after the newest head that anybody else holds can be cut off without a trace;
that is why heads travel with every message. The signature is Ed25519 (RFC 8032).
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints, ValidationError

from federation.errors import AuditError
from federation.schema import Frozen
from federation.study import Name

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Signature = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{128}$")]
Salt = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{32})?$")]
Fact = str | int | float
Event = Literal[
    "started",
    "asked",
    "inbox",
    "approved",
    "revoked",
    "refused",
    "failed",
    "joined",
    "reserved",
    "released",
    "signed",
    "opened",
    "ended",
    "withdrawn",
    "pinned",
    "recovered",
    "heads",
]

# What the first entry names as its predecessor, and the hash of an empty log.
BEFORE_THE_FIRST = hashlib.sha256(b"").hexdigest()
# Keeps a signature of a head from ever being one of something else.
_DOMAIN = "wardround audit head 1"


def _in_utc(time: datetime) -> datetime:
    return time.astimezone(UTC)


class AuditEntry(Frozen):
    """One thing that happened in a hospital, and by which rule.

    Attributes:
        sequence: its place in the log, from 1 without gaps.
        time: by the hospital's clock, UTC.
        actor: who did it: a person's name at the console, or a part of the program.
        event: what kind of thing.
        rule: the rule that decided; empty where none did.
        study: the study's id; empty where it concerns none.
        round: of the study.
        facts: what else is worth keeping; never a patient's.
        salt: random, so that whoever holds the entry's hash cannot try out what it says.
        previous: SHA-256 of the line before, of nothing for the first.
    """

    sequence: Annotated[int, Field(ge=1)]
    time: Annotated[AwareDatetime, AfterValidator(_in_utc)]
    actor: str
    event: Event
    rule: str = ""
    study: str = ""
    round: int | None = None
    facts: dict[str, Fact] = Field(default_factory=dict)
    salt: Salt = ""
    previous: Digest

    def line(self) -> str:
        """The entry as canonical JSON, without the end of the line; its UTF-8 is what is hashed."""
        fields = self.model_dump(mode="json")
        return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


class AuditHead(Frozen):
    """A hospital's signed word on how far its log goes.

    Attributes:
        site: whose log.
        key: the hospital's Ed25519 public key, raw.
        sequence: of the last entry; 0 for an empty log.
        hash: SHA-256 of the last entry's line, of nothing for an empty log.
        signature: over site, sequence and hash.
    """

    site: Name
    key: Digest
    sequence: Annotated[int, Field(ge=0)]
    hash: Digest
    signature: Signature

    @property
    def genuine(self) -> bool:
        """Whether the signature is that of the head's own key; whose key it is, is for the reader to know."""
        try:
            key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.key))
            key.verify(bytes.fromhex(self.signature), _signed(self.site, self.sequence, self.hash))
        except (InvalidSignature, ValueError):
            return False
        return True


def sign_head(identity: Ed25519PrivateKey, site: str, sequence: int, digest: str) -> AuditHead:
    """The head of ``site``'s log, whose entry ``sequence`` has the hash ``digest``."""
    return AuditHead(
        site=site,
        key=identity.public_key().public_bytes_raw().hex(),
        sequence=sequence,
        hash=digest,
        signature=identity.sign(_signed(site, sequence, digest)).hex(),
    )


def hash_of(line: bytes) -> str:
    """SHA-256 of an entry's line, the end of the line left out."""
    return hashlib.sha256(line.removesuffix(b"\n")).hexdigest()


class Link(NamedTuple):
    """An entry and the hash of its line."""

    entry: AuditEntry
    hash: str


def follow_chain(
    lines: Iterable[bytes], sequence: int = 0, previous: str = BEFORE_THE_FIRST
) -> Iterator[Link]:
    """Each line as an entry that follows from the one before.

    Args:
        lines: of a log, one entry each, with or without the end of the line.
        sequence: of the entry that they follow on.
        previous: its hash.

    Raises:
        AuditError: the first line that does not follow, by its number, and what is wrong with it. Clocks are
            set back now and then, so a time before the last one is no error.
    """
    for line in lines:
        sequence += 1
        try:
            entry = AuditEntry.model_validate_json(line)
        except ValidationError as error:
            raise AuditError(f"line {sequence} is not an entry: {error.errors()[0]['msg']}") from error
        if entry.sequence != sequence:
            raise AuditError(
                f"line {sequence} is entry {entry.sequence}; entries are missing or out of order"
            )
        if entry.previous != previous:
            raise AuditError(
                f"line {sequence} follows {entry.previous[:12]}, but the line before has the hash "
                f"{previous[:12]}; one of the two was rewritten"
            )
        previous = hash_of(line)
        yield Link(entry, previous)


def read_chain(lines: Iterable[bytes]) -> list[Link]:
    """A whole log, verified from its first line on.

    Raises:
        AuditError: as ``follow_chain``.
    """
    return list(follow_chain(lines))


def require_heads(hashes: Sequence[str], heads: Iterable[AuditHead]) -> None:
    """Hold a log against heads that it was once said to have.

    Args:
        hashes: of its entries, from the first on, of a chain that was verified.
        heads: of this log, from whoever kept them.

    Raises:
        AuditError: a head is not genuine, or the log was cut back or rewritten since, and at which entry.
    """
    for head in sorted(heads, key=lambda head: head.sequence):
        if not head.genuine:
            raise AuditError(f"the head of {head.site} at entry {head.sequence} does not bear its signature")
        if head.sequence > len(hashes):
            raise AuditError(
                f"cut back: {head.site} signed entry {head.sequence}, and the log ends at entry {len(hashes)}"
            )
        if (hashes[head.sequence - 1] if head.sequence else BEFORE_THE_FIRST) != head.hash:
            raise AuditError(
                f"rewritten: entry {head.sequence} is not the one that {head.site} signed; it, or one before "
                "it, was changed"
            )


def _signed(site: str, sequence: int, digest: str) -> bytes:
    """What a head's signature is over; a name has no line breaks, so no two heads share it."""
    return f"{_DOMAIN}\n{site}\n{sequence}\n{digest}".encode()
