"""What a custodian remembers of its last answer in each study: on disk before it leaves.

<site folder>/studies/<study id>/answer.safetensors
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from federation.errors import DataError
from federation.files import locked, write_whole
from federation.messages import Parameters


@dataclass(frozen=True)
class Answer:
    """What a round gave.

    Attributes:
        round: which one.
        update: the change of the trainable parameters, float32 ``[trainable]``.
        optimizer: what the optimiser remembers after it.
    """

    round: int
    update: Parameters
    optimizer: bytes


class Answers:
    """The last answer in one study at one site.

    Args:
        site_folder: where the site keeps what must outlive the process.
        study: the study's id.
    """

    def __init__(self, site_folder: Path, study: str) -> None:
        self._folder = site_folder / "studies" / study
        self._path = self._folder / "answer.safetensors"

    @property
    def last(self) -> Answer | None:
        """The answer to the last round that was finished; None before the first.

        Raises:
            DataError: it cannot be read.
        """
        if not self._path.exists():
            return None
        try:
            held = load(self._path.read_bytes())
            return Answer(int(held["round"][0]), held["update"], held["optimizer"].tobytes())
        except (OSError, KeyError, SafetensorError) as error:
            raise DataError(
                f"{self._path} cannot be read ({error}); restore it, or end the study here"
            ) from error

    def remember(self, answer: Answer) -> None:
        """Keep an answer; only then may it leave."""
        content = {
            "round": np.array([answer.round]),
            "update": answer.update,
            "optimizer": np.frombuffer(answer.optimizer, dtype=np.uint8),
        }
        write_whole(self._path, save(content))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other process out of this study at this site, from before the charge to the release."""
        with locked(self._folder / "lock", wait=True):
            yield
