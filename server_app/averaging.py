"""The released model as an average of rounds' models, so that nothing is chosen on anybody's scores.

An average is computed from models that were released anyway, so it costs patients nothing.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from federation.messages import Parameters
from federation.study import Study


class Average(Protocol):
    """Some average of the rounds' models."""

    def counts(self, round_number: int) -> bool:
        """Whether the round's model is part of it."""
        ...

    def add(self, round_number: int, parameters: Parameters) -> None:
        """Take a round's model in, if it counts; each round once, in order."""
        ...

    @property
    def value(self) -> Parameters:
        """The average so far, float32 ``[all]``."""
        ...


def average_of(study: Study) -> Average:
    """What the study releases."""
    if study.moving_average is not None:
        return MovingAverage(study.moving_average)
    return TailAverage(study.rounds - study.tail_rounds + 1)


class TailAverage:
    """The mean of the last rounds' models.

    Args:
        first: the first round that counts.
    """

    def __init__(self, first: int) -> None:
        self._first = first
        self._sum: NDArray[np.float64] = np.zeros(1)
        self._count = 0

    def counts(self, round_number: int) -> bool:
        """See ``Average``."""
        return round_number >= self._first

    def add(self, round_number: int, parameters: Parameters) -> None:
        """See ``Average``."""
        if self.counts(round_number):
            self._sum = self._sum + parameters
            self._count += 1

    @property
    def value(self) -> Parameters:
        """See ``Average``."""
        return np.asarray(self._sum / self._count, dtype=np.float32)


class MovingAverage:
    """The exponential moving average of all rounds' models, begun at the first one's.

    Args:
        kept: the share of itself that it keeps each round.
    """

    def __init__(self, kept: float) -> None:
        self._kept = kept
        self._value: NDArray[np.float64] | None = None

    def counts(self, round_number: int) -> bool:  # noqa: ARG002
        """See ``Average``."""
        return True

    def add(self, round_number: int, parameters: Parameters) -> None:  # noqa: ARG002
        """See ``Average``."""
        new = parameters.astype(np.float64)
        self._value = new if self._value is None else self._kept * self._value + (1 - self._kept) * new

    @property
    def value(self) -> Parameters:
        """See ``Average``."""
        if self._value is None:
            raise ValueError("no round's model has been added yet")
        return self._value.astype(np.float32)
