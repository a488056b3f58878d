"""Who the members are: each site's name and key, signed by the coordinator and pinned at every site."""

from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Annotated, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import Field, field_validator

from federation.audit_log import Digest, Signature
from federation.errors import SecureSumError
from federation.schema import Frozen
from federation.secure_sum.parties import LEAST_SITES, MOST_SITES
from federation.secure_sum.signing import is_signed, sign
from federation.secure_sum.transcript import digest
from federation.study import Name


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
        """The first half of the hash in groups, for people."""
        return " ".join(self.hash[start : start + 4] for start in range(0, 32, 4))

    def key_of(self, site: str) -> bytes:
        """The public key of ``site``.

        Raises:
            SecureSumError: it is no member.
        """
        if site not in self.keys:
            raise SecureSumError("member", site, f"is not in the roster {self.fingerprint}; leave it out")
        return bytes.fromhex(self.keys[site])


class Roster(Members):
    """The members of a federation.

    Attributes:
        version: rises by every change.
        signature: of the coordinator, over version and keys.
    """

    version: Annotated[int, Field(ge=1)]
    signature: Signature

    @classmethod
    def signed(cls, coordinator: Ed25519PrivateKey, version: int, keys: Mapping[str, str]) -> Self:
        """A roster by the ``coordinator``."""
        signature = sign(coordinator, "roster", *_fields(version, keys))
        return cls(version=version, keys=dict(keys), signature=signature.hex())

    @cached_property
    def hash(self) -> str:
        """See ``Members``; of another version it is another."""
        return digest("roster", *_fields(self.version, self.keys)).hex()

    def only(self, sites: Collection[str]) -> Members:
        """Those of a study. Who else joins or leaves the federation changes nothing of their hash.

        Raises:
            SecureSumError: a site is no member.
        """
        return Members(keys={site: self.key_of(site).hex() for site in sites})

    def require_after(self, pinned: "Roster", coordinator: bytes) -> None:
        """Hold a roster that was received against the one that a site has pinned.

        Args:
            pinned: the site's.
            coordinator: the public key of the coordinator that the site was set up with.

        Raises:
            SecureSumError: the coordinator has not signed it, or it is older, or another of the same version.
        """
        if not is_signed(
            coordinator, bytes.fromhex(self.signature), "roster", *_fields(self.version, self.keys)
        ):
            raise SecureSumError(
                "roster-signature",
                "",
                f"roster {self.fingerprint} does not bear the coordinator's signature; do not use it",
            )
        if self.hash != pinned.hash and self.version <= pinned.version:
            raise SecureSumError(
                "roster-version",
                "",
                f"roster {self.fingerprint} of version {self.version} would replace {pinned.fingerprint} of "
                f"version {pinned.version}; only a later one may",
            )


def _fields(version: int, keys: Mapping[str, str]) -> tuple[int, list[tuple[str, str]]]:
    return version, sorted(keys.items())
