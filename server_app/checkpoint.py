"""Where a run stands after a round, so that after a crash it goes on as if nothing had happened.

A checkpoint is written last of all that a round leaves. Whatever lies in the folder of a later round is
dropped and made again: the hospitals answer the same question with the same bytes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from federation.errors import DataError
from federation.files import write_whole

_FILE = "checkpoint.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """A run after a round; the models lie beside it.

    Attributes:
        round: the last one that is whole; 0 before the first.
        version: of its model; empty before the first.
        steps: what each hospital has been charged.
        rounds_of: how many rounds each has taken part in.
        seconds: that the run has taken so far.
        strategy: what the strategy remembers.
        lost: rounds that came to nothing.
    """

    round: int
    version: str
    steps: Mapping[str, int]
    rounds_of: Mapping[str, int]
    seconds: float
    strategy: Mapping[str, NDArray[Any]]
    lost: int = 0

    def write(self, folder: Path) -> None:
        """Replace the checkpoint of the run in ``folder``.

        Raises:
            StorageError: the disk did not take it; the one before is still there.
        """
        values = {name: value for name, value in vars(self).items() if name != "strategy"}
        content = save(dict(self.strategy), metadata={"run": json.dumps(values)})
        write_whole(folder / _FILE, content)


def go_back(folder: Path) -> Checkpoint | None:
    """Make the record in ``folder`` what it was when its last whole round was over; safe to do again.

    Returns:
        where that leaves the run; None if no round has become whole.

    Raises:
        DataError: the checkpoint cannot be read.
        StorageError: the disk did not take the change.
    """
    checkpoint = _read(folder)
    _shorten(folder / "metrics.jsonl", 0 if checkpoint is None else checkpoint.round)
    (folder / "summary.json").unlink(missing_ok=True)
    return checkpoint


def _read(folder: Path) -> Checkpoint | None:
    path = folder / _FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            values = json.loads(file.metadata()["run"])
            # It offers keys() and nothing else to go by.
            strategy = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return Checkpoint(**values, strategy=strategy)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); run the study again in another folder") from error


def _shorten(path: Path, last_round: int) -> None:
    """Take out what was written after ``last_round``, and a line that broke off."""
    if not path.exists():
        return
    content = path.read_bytes()
    whole = [line for line in content.splitlines(keepends=True) if line.endswith(b"\n")]
    kept = b"".join(line for line in whole if json.loads(line)["round"] <= last_round)
    if kept != content:
        write_whole(path, kept)
