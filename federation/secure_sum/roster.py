"""Who the members are: each site's name and key, signed by the coordinator and pinned at every site."""

import hashlib
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Annotated, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import Field, field_validator

from federation.audit_log import Digest, Signature
from federation.errors import SecureSumError
from federation.schema import Frozen
from federation.secure_sum.fingerprint import words_of
from federation.secure_sum.parties import LEAST_SITES, MOST_SITES
from federation.secure_sum.signing import is_signed, sign
from federation.secure_sum.transcript import digest
from federation.study import Name


class SiteKey(Frozen):
    """What others must know of a site, made by itself.

    Attributes:
        site: its name.
        key: its Ed25519 public key, raw, as hex digits.
    """

    site: Name
    key: Digest

    @property
    def words(self) -> str:
        """The key as words, for people; see ``key_words``."""
        return key_words(self.key)


class Members(Frozen):
    """Some sites with their keys.

    Attributes:
        keys: each site's Ed25519 public key, raw, as hex digits.
    """

    keys: Annotated[dict[Name, Digest], Field(min_length=LEAST_SITES, max_length=MOST_SITES)]

    @field_validator("keys")
    @classmethod
    def _each_key_once(cls, keys: dict[str, str]) -> dict[str, str]:
        if len(set(keys.values())) != len(keys):
            raise ValueError("two sites have one key; a site that counts twice could be alone in a sum")
        return keys

    @property
    def sites(self) -> tuple[str, ...]:
        """Their names, sorted."""
        return tuple(sorted(self.keys))

    @cached_property
    def hash(self) -> str:
        """SHA-256 of all of it, as hex digits; what a plan names."""
        return digest("members", sorted(self.keys.items())).hex()

    @property
    def fingerprint(self) -> str:
        """The hash as words, for people."""
        return words_of(self.hash)

    def key_of(self, site: str) -> bytes:
        """The public key of ``site``.

        Raises:
            SecureSumError: it is no member.
        """
        if site not in self.keys:
            raise SecureSumError("member", site, f"is not in the roster {self.hash[:12]}; leave it out")
        return bytes.fromhex(self.keys[site])


class Roster(Members):
    """The members of a federation.

    Attributes:
        version: rises by every change.
        coordinator: the Ed25519 public key of who signed it, raw, as hex digits.
        signature: of the coordinator, over all of it.
    """

    version: Annotated[int, Field(ge=1, le=10**9)]
    coordinator: Digest
    signature: Signature

    @classmethod
    def signed(cls, coordinator: Ed25519PrivateKey, version: int, keys: Mapping[str, str]) -> Self:
        """A roster by the ``coordinator``."""
        public = coordinator.public_key().public_bytes_raw().hex()
        signature = sign(coordinator, "roster", *_fields(version, public, keys))
        return cls(version=version, coordinator=public, keys=dict(keys), signature=signature.hex())

    @cached_property
    def hash(self) -> str:
        """See ``Members``; of another version or coordinator it is another."""
        return digest("roster", *_fields(self.version, self.coordinator, self.keys)).hex()

    def only(self, sites: Collection[str]) -> Members:
        """Those of a study. Who else joins or leaves the federation changes nothing of their hash.

        Raises:
            SecureSumError: a site is no member.
        """
        return Members(keys={site: self.key_of(site).hex() for site in sites})

    def require_genuine(self) -> None:
        """Refuse a roster that the coordinator it names has not signed; who that is, people must know.

        Raises:
            SecureSumError: it does not bear the signature.
        """
        key, signature = bytes.fromhex(self.coordinator), bytes.fromhex(self.signature)
        if not is_signed(key, signature, "roster", *_fields(self.version, self.coordinator, self.keys)):
            raise SecureSumError(
                "roster-signature",
                "",
                f"{self._called} does not bear its coordinator's signature; ask for it anew",
            )

    def require_after(self, pinned: "Roster") -> None:
        """Hold a roster that was received against the one that a site has pinned.

        Raises:
            SecureSumError: the coordinator that signed the pinned one has not signed it, or it is older, or
                another of the same version.
        """
        self.require_genuine()
        if self.coordinator != pinned.coordinator:
            raise SecureSumError(
                "roster-coordinator",
                "",
                f"{self._called} is signed by the key {self.coordinator[:12]}, and the pinned one by "
                f"{pinned.coordinator[:12]}; take none but that coordinator's",
            )
        if self.hash != pinned.hash and self.version <= pinned.version:
            raise SecureSumError(
                "roster-version",
                "",
                f"{self._called} would replace version {pinned.version} ({pinned.hash[:12]}); only a later "
                "one may, so ask the coordinator for the newest",
            )

    @property
    def _called(self) -> str:
        return f"roster version {self.version} ({self.hash[:12]})"


def key_words(key: str) -> str:
    """A public ``key`` (hex digits) as words, of its SHA-256."""
    return words_of(hashlib.sha256(bytes.fromhex(key)).hexdigest())


def _fields(
    version: int, coordinator: str, keys: Mapping[str, str]
) -> tuple[int, str, list[tuple[str, str]]]:
    return version, coordinator, sorted(keys.items())
