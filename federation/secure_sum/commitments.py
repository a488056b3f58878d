"""What a site commits to when it sends a masked vector, and what others hold it to."""

from collections.abc import Mapping, Sequence
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federation.errors import SecureSumError
from federation.secure_sum.messages import Commitment
from federation.secure_sum.roster import Members
from federation.secure_sum.signing import is_signed, sign
from federation.secure_sum.transcript import Words, digest, digest_of_vector


def pair_sign(site: str, peer: str) -> Literal[1, -1]:
    """How ``site`` applies the mask that it has in common with ``peer``; the two signs cancel."""
    return 1 if site < peer else -1


def secrets_of(site: str, cohort: Sequence[str]) -> list[str]:
    """In which order a site shares its secrets: its self mask, by its own name, then those with each peer."""
    return [site, *(peer for peer in cohort if peer != site)]


def secret_digest(told: bytes, secret: bytes) -> bytes:
    """By which a secret that was put together from shares is known to be the one that was shared."""
    return digest("secret", told, secret)


def digest_of_boxes(boxes: Mapping[str, bytes]) -> bytes:
    """SHA-256 of boxes with their receivers."""
    return digest("boxes", sorted(boxes.items()))


def require_commitment(roster: Members, commitment: Commitment, told: bytes) -> None:
    """Refuse a commitment that its site did not sign, or that is of another round, cohort or model.

    Raises:
        SecureSumError: which of the two.
    """
    site = commitment.site
    fields = (commitment.context, site, commitment.vector, commitment.boxes, commitment.secrets)
    if not is_signed(roster.key_of(site), commitment.signature, "commitment", *fields):
        raise SecureSumError("commitment", site, "its commitment does not bear its signature; leave it out")
    if commitment.context != told:
        raise SecureSumError(
            "context",
            site,
            "was told another model, cohort or round; the coordinator tells everybody the same",
        )


def commitment_to(
    identity: Ed25519PrivateKey,
    site: str,
    told: bytes,
    *,
    vector: Words,
    boxes: Mapping[str, bytes],
    secrets: Sequence[bytes],
) -> Commitment:
    """The signed word of ``site`` on what it sends in the round of the context ``told``."""
    hashes = digest_of_vector(vector), digest_of_boxes(boxes), digest("secrets", secrets)
    signature = sign(identity, "commitment", told, site, *hashes)
    return Commitment(
        site=site, context=told, vector=hashes[0], boxes=hashes[1], secrets=hashes[2], signature=signature
    )
