"""Many byte strings looked for in millions of bytes of pixels at once."""

from collections import defaultdict
from collections.abc import Mapping
from typing import TypeVar

import numpy as np

SHORTEST = 8  # bytes: what is shorter occurs in compressed pixels by chance

Named = TypeVar("Named")


def found_in(forms: Mapping[bytes, Named], pixels: bytes) -> Named | None:
    """What one of the ``forms`` stands for that occurs in ``pixels``, or None.

    Only where two neighbouring pairs of bytes begin forms is anything compared, which in pixels is seldom.

    Args:
        forms: each of at least ``SHORTEST`` bytes, and what it stands for.
        pixels: what is searched.
    """
    first, second = np.zeros(1 << 16, bool), np.zeros(1 << 16, bool)
    beginning: dict[bytes, list[bytes]] = defaultdict(list)
    for form in forms:
        first[int.from_bytes(form[:2], "little")] = second[int.from_bytes(form[2:4], "little")] = True
        beginning[form[:SHORTEST]].append(form)
    for offset in (0, 1):
        shifted = memoryview(pixels)[offset:]
        pairs = np.frombuffer(shifted[: len(shifted) // 2 * 2], "<u2")
        for at in 2 * np.flatnonzero(first[pairs[:-1]] & second[pairs[1:]]) + offset:
            for form in beginning.get(pixels[at : at + SHORTEST], ()):
                if pixels.startswith(form, at):
                    return forms[form]
    return None
