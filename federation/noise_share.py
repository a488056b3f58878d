"""Placeholder."""

from dataclasses import dataclass
from math import sqrt

LEAST_SHARE = 2**10


@dataclass(frozen=True)
class Views:
    coordinator: float
    peer: float
    everybody: float


def views(noise_multiplier: float, *, sites: int, colluding: int, dropouts: int) -> Views:
    honest = sites - colluding - dropouts
    return Views(
        noise_multiplier,
        noise_multiplier * sqrt((sites - 1 - dropouts) / honest),
        noise_multiplier / sqrt(honest),
    )
