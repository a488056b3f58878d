"""Hashes as words, which two people can compare on the telephone."""

from functools import cache

from mnemonic import Mnemonic

_BYTES = 16


def words_of(digest: str) -> str:
    """The first 128 bits of a hash as twelve English words (BIP-39), the last of which is also a check.

    Somebody who wants another thing with the words of a given one has 2^128 tries before them. Who makes both
    things themselves has 2^64: so a roster's words tell hospitals that they have the same roster, and it is
    the words of their keys, read by their owners, that tell them whose keys these are.

    Args:
        digest: SHA-256 as hex digits.
    """
    return _english().to_mnemonic(bytes.fromhex(digest)[:_BYTES])


@cache
def _english() -> Mnemonic:
    return Mnemonic("english")
