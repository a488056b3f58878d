"""What a custodian remembers of its last answer in each study: on disk before it leaves.

<site folder>/studies/<study id>/train.safetensors   the last round's
<site folder>/studies/<study id>/test.safetensors    the evaluation's
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from client_app.custodian.ledger.cost import Part
from federation.errors import DataError
from federation.files import locked, write_whole
from federation.messages import Parameters
from federation.secure_sum.transcript import Words


@dataclass(frozen=True)
class Answer:
    """What a round, or the evaluation, gave.

    Attributes:
        round: which one.
        released: the numbers that may leave, one flat array: float32, or uint32 for a secure sum.
        optimizer: what the optimiser remembers after it.
    """

    round: int
    released: Parameters | Words
    optimizer: bytes


class Answers:
    """The last answer of one part of one study at one site.

    Args:
        site_folder: where the site keeps what must outlive the process.
        study: the study's id.
        part: who learns or who measures.
    """

    def __init__(self, site_folder: Path, study: str, part: Part) -> None:
        self._folder = site_folder / "studies" / study
        self._path = self._folder / f"{part}.safetensors"

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
            return Answer(int(held["round"][0]), held["released"], held["optimizer"].tobytes())
        except (OSError, KeyError, SafetensorError) as error:
            raise DataError(
                f"{self._path} cannot be read ({error}); restore it, or end the study here"
            ) from error

    def remember(self, answer: Answer) -> None:
        """Keep an answer; only then may it leave."""
        content = {
            "round": np.array([answer.round]),
            "released": answer.released,
            "optimizer": np.frombuffer(answer.optimizer, dtype=np.uint8),
        }
        write_whole(self._path, save(content))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other process out of this study at this site, from before the charge to the release."""
        with locked(self._folder / "lock", wait=True):
            yield
