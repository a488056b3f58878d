"""Ed25519 (RFC 8032) over fields, each kind of statement in a domain of its own."""

from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from federation.secure_sum.transcript import Field, digest

Statement = Literal["advert", "commitment", "survivors", "roster"]


def sign(key: Ed25519PrivateKey, statement: Statement, *fields: Field) -> bytes:
    """The 64 bytes with which the holder of ``key`` states ``fields``."""
    return key.sign(digest(statement, *fields))


def is_signed(key: bytes, signature: bytes, statement: Statement, *fields: Field) -> bool:
    """Whether the holder of the raw public ``key`` stated ``fields``."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, digest(statement, *fields))
    except (InvalidSignature, ValueError):
        return False
    return True
