"""Shamir's secret sharing over the integers modulo 2^255 - 19 (Shamir 1979, doi 10.1145/359168.359176).

The secret is a polynomial's value at 0; whoever holds x gets the value at x. Of fewer than ``threshold``
shares, every secret is equally likely.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence

from federation.errors import SecureSumError

PRIME = 2**255 - 19
SECRET_BYTES = 31
SHARE_BYTES = 32


def split(
    secret: bytes, threshold: int, holders: int, draw: Callable[[int], int] = secrets.randbelow
) -> list[bytes]:
    """Shares of a secret of 31 bytes.

    Args:
        secret: what is shared.
        threshold: how many shares recover it.
        holders: how many there are; the first gets x = 1.
        draw: a uniform number below its argument.

    Returns:
        a share of 32 bytes (little-endian) for each holder.
    """
    if len(secret) != SECRET_BYTES or not 1 <= threshold <= holders:
        raise ValueError(
            f"{len(secret)} bytes, {threshold} of {holders}: 31 bytes, and no more than there are"
        )
    polynomial = [int.from_bytes(secret, "little"), *(draw(PRIME) for _ in range(threshold - 1))]
    return [_value(polynomial, x).to_bytes(SHARE_BYTES, "little") for x in range(1, holders + 1)]


def weights_at_zero(holders: Sequence[int]) -> list[int]:
    """Lagrange's weights, by which the values at ``holders`` make that at 0."""
    if len(set(holders)) != len(holders) or not all(0 < x < PRIME for x in holders):
        raise SecureSumError(
            "shares", "", f"shares of holders {list(holders)}; each is above 0 and counts once"
        )
    weights = []
    for x in holders:
        above = below = 1
        for other in holders:
            if other != x:
                above = above * other % PRIME
                below = below * (other - x) % PRIME
        weights.append(above * pow(below, -1, PRIME) % PRIME)
    return weights


def recover(shares: Mapping[int, bytes], threshold: int, weights: Sequence[int] | None = None) -> bytes:
    """The secret behind ``shares``, by holder; the first ``threshold`` of them are used.

    Args:
        shares: by x.
        threshold: that of ``split``.
        weights: ``weights_at_zero`` of those holders, where they were computed before.

    Raises:
        SecureSumError: there are too few, or they are no shares of one secret as far as that can be seen. A
            wrong share mostly shows; whoever must be sure compares what comes out with a commitment.
    """
    if len(shares) < threshold:
        raise SecureSumError(
            "shares", "", f"{len(shares)} shares where {threshold} are needed; ask more sites"
        )
    chosen = dict(list(shares.items())[:threshold])
    values = [int.from_bytes(share, "little") for share in chosen.values()]
    if any(len(share) != SHARE_BYTES for share in chosen.values()) or any(value >= PRIME for value in values):
        raise SecureSumError(
            "shares", "", "a share is not 32 bytes of a number in the field; begin a new round"
        )
    weighed = zip(weights or weights_at_zero(list(chosen)), values, strict=True)
    secret = sum(weight * value for weight, value in weighed) % PRIME
    if secret >> (8 * SECRET_BYTES):
        raise SecureSumError("shares", "", "the shares belong to no one secret; begin a new round")
    return secret.to_bytes(SECRET_BYTES, "little")


def _value(polynomial: Sequence[int], x: int) -> int:
    value = 0
    for coefficient in reversed(polynomial):
        value = (value * x + coefficient) % PRIME
    return value
