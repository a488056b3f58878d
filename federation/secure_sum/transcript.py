"""What is hashed and signed: an encoding that no two different lists of fields share."""

import hashlib
import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Field = bytes | str | int | float | Sequence["Field"]
Words = NDArray[np.uint32]


def encoded(*fields: Field) -> bytes:
    """Each of ``fields`` with its type and its length before it."""
    return b"".join(_encoded(field) for field in fields)


def digest(label: str, *fields: Field) -> bytes:
    """SHA-256 of ``fields``, in a domain of their own by ``label``; 32 bytes."""
    return hashlib.sha256(encoded(f"wardround secure sum 1 {label}", *fields)).digest()


def digest_of_vector(vector: Words) -> bytes:
    """SHA-256 of a vector ``[m + 1]`` as it travels (little-endian); 32 bytes."""
    return hashlib.sha256(np.ascontiguousarray(vector, dtype="<u4").data).digest()


def context(plan: bytes, round_number: int, cohort: Sequence[str], model: bytes) -> bytes:
    """What all sites of a round must agree on; masks are derived from it, so they cancel only if they do.

    Args:
        plan: the plan's digest, which holds the study's and the roster's.
        round_number: from 1.
        cohort: the sites asked, sorted.
        model: SHA-256 of the model as the site received it, 32 bytes.
    """
    return digest("context", plan, round_number, cohort, model)


def _encoded(field: Field) -> bytes:
    if isinstance(field, bytes):
        tag, body = b"b", field
    elif isinstance(field, str):
        tag, body = b"s", field.encode()
    elif isinstance(field, int):
        tag, body = b"i", str(int(field)).encode()
    elif isinstance(field, float):
        tag, body = b"f", struct.pack(">d", field)
    else:
        tag, body = b"l", encoded(*field)
    return tag + struct.pack(">Q", len(body)) + body
