"""How much processor time lies between the start of the first round and the end of the last."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Rounds:
    """What the rounds took.

    Attributes:
        cpu: seconds of processor time, measuring the models included.
        measuring: seconds of them that went into measuring the models; None where that cannot be seen.
    """

    cpu: float
    measuring: float | None


class Marks:
    """A contestant's stopwatch.

    Args:
        clock: the processor time so far, by default of this process with all its threads.
    """

    def __init__(self, clock: Callable[[], float] = time.process_time) -> None:
        self._clock = clock
        self._begun: float | None = None
        self._ended: float | None = None
        self._measuring = 0.0

    @property
    def begun(self) -> bool:
        """Whether the first round has started."""
        return self._begun is not None

    @property
    def ended(self) -> bool:
        """Whether a round has ended."""
        return self._ended is not None

    def begin(self) -> None:
        """The first round starts now."""
        self._begun = self._clock()

    def end(self) -> None:
        """A round has ended, perhaps the last."""
        self._ended = self._clock()

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """What happens inside the ``with`` block measures a model."""
        begun = self._clock()
        yield
        self._measuring += self._clock() - begun

    @property
    def rounds(self) -> Rounds:
        """What the rounds have taken.

        Raises:
            RuntimeError: none has been seen.
        """
        if self._begun is None or self._ended is None:
            raise RuntimeError("no round was seen")
        return Rounds(self._ended - self._begun, self._measuring)

    def write(self, folder: Path, model: NDArray[np.float32]) -> None:
        """Leave what the rounds took and the last round's model, float32 ``[all]``, in ``folder``."""
        (folder / "rounds.json").write_text(json.dumps(asdict(self.rounds)))
        np.save(folder / "model.npy", model)


def read_rounds(folder: Path) -> Rounds:
    """What the rounds took."""
    return Rounds(**json.loads((folder / "rounds.json").read_text()))


def read_model(folder: Path) -> NDArray[np.float32]:
    """The last round's model, float32 ``[all]``."""
    return np.asarray(np.load(folder / "model.npy"), dtype=np.float32)
