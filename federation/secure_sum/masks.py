"""The stream that a seed stands for: AES-256 in counter mode, added to a vector or taken from it."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR

from federation.secure_sum.transcript import Words, digest

SEED_BYTES = 31
"""So that a seed is a number below 2^248, inside the field of the shares."""

_AES_BLOCK = 16
# Stays in the second-level cache; much smaller ones are slowed by calls, much larger ones by memory.
_CHUNK_BYTES = 2**18
_ZEROS = bytes(_CHUNK_BYTES)


class Mask(NamedTuple):
    """One mask.

    Attributes:
        seed: what it follows from.
        label: whether it is a site's own or of a pair.
        sign: -1 to take it away.
    """

    seed: bytes
    label: Literal["self", "pair"]
    sign: Literal[1, -1]


def add_masks(vector: Words, masks: Sequence[Mask]) -> None:
    """Add ``masks`` to ``vector`` ``[m + 1]``, modulo 2^32 and in place.

    The key of a stream belongs to one seed, so its counter begins at zero. All masks go onto one part of the
    vector, while the processor has it at hand, before the next.
    """
    streams = [
        (Cipher(AES256(digest("mask", mask.label, mask.seed)), CTR(bytes(_AES_BLOCK))).encryptor(), mask.sign)
        for mask in masks
    ]
    buffer = np.empty(_CHUNK_BYTES + _AES_BLOCK, dtype=np.uint8)
    for start in range(0, len(vector), _CHUNK_BYTES // 4):
        part = vector[start : start + _CHUNK_BYTES // 4]
        for stream, sign in streams:
            stream.update_into(memoryview(_ZEROS)[: part.nbytes], buffer.data)
            apply = np.add if sign > 0 else np.subtract
            apply(part, buffer[: part.nbytes].view("<u4"), out=part)
