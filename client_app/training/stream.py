"""Random numbers that only the holder of a secret can know, each drawn from an address.

A stream is AES-256 in counter mode over zeros, under a key that HKDF-SHA-256 derives from the site's secret
and the stream's address, such as (study, round, step, "noise"). Streams of different addresses are
independent, so noise and sampling never share draws, and nothing has to be kept in step between processes. An
address must never serve two releases: equal addresses mean equal noise, and noise that is known cancels.
"""

import math

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

SECRET_BYTES = 32


class Stream:
    """The stream at one address.

    Args:
        secret: the site's secret, at least 128 bits of the operating system's randomness.
        address: what the draws are for.
    """

    def __init__(self, secret: bytes, *address: str | int) -> None:
        label = b"\x00".join(str(part).encode() for part in ("wardround stream 1", *address))
        key = HKDF(SHA256(), length=32, salt=None, info=label).derive(secret)
        self._cipher = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()

    def bits(self, count: int) -> NDArray[np.uint64]:
        """The next ``count`` uniform 64-bit words."""
        return np.frombuffer(self._cipher.update(bytes(8 * count)), dtype="<u8")

    def uniform(self, count: int) -> NDArray[np.float64]:
        """The next ``count`` numbers, uniform on a 53-bit grid strictly inside (0, 1)."""
        return ((self.bits(count) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53

    def normal(self, count: int) -> NDArray[np.float64]:
        """The next ``count`` standard normal numbers (Box & Muller 1958)."""
        pairs = (count + 1) // 2
        radius = np.sqrt(-2 * np.log(self.uniform(pairs)))
        angle = 2 * math.pi * self.uniform(pairs)
        return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]
