"""The stream that a seed stands for: AES-256 in counter mode, added to a vector or taken from it."""

from typing import Literal

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR

from federation.secure_sum.transcript import Words, digest

SEED_BYTES = 31
"""So that a seed is a number below 2^248, inside the field of the shares."""

_AES_BLOCK = 16
# Stays in the second-level cache; much smaller ones are slowed by calls, much larger ones by memory.
_CHUNK_BYTES = 2**19
_ZEROS = bytes(_CHUNK_BYTES)


def add_mask(vector: Words, seed: bytes, label: Literal["self", "pair"], sign: Literal[1, -1]) -> None:
    """Add the mask of ``seed`` to ``vector`` ``[m + 1]`` modulo 2^32, or subtract it where ``sign`` is -1.

    The key of a stream belongs to one seed, so its counter begins at zero.
    """
    stream = Cipher(AES256(digest("mask", label, seed)), CTR(bytes(_AES_BLOCK))).encryptor()
    buffer = np.empty(_CHUNK_BYTES + _AES_BLOCK, dtype=np.uint8)
    apply = np.add if sign > 0 else np.subtract
    for start in range(0, len(vector), _CHUNK_BYTES // 4):
        part = vector[start : start + _CHUNK_BYTES // 4]
        stream.update_into(memoryview(_ZEROS)[: part.nbytes], buffer.data)
        apply(part, buffer[: part.nbytes].view("<u4"), out=part)
