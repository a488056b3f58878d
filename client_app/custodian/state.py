"""What a custodian remembers of a study, in the site's folder, on disk before anything leaves.

<site folder>/secret                     the source of all noise and sampling
<site folder>/studies/<study id>/progress.json
<site folder>/studies/<study id>/optimizer.safetensors
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field
from safetensors import SafetensorError
from safetensors.numpy import load, save

from client_app.training.stream import SECRET_BYTES
from federation.errors import DataError, RefusedError
from federation.files import locked, write_whole
from federation.messages import Parameters
from federation.schema import Frozen, validated
from federation.study import Study


class Progress(Frozen):
    """How far a study has come at this site.

    Attributes:
        burnt_round: the last round whose noise may have been used; it never comes again.
        steps: optimiser steps charged so far, whether or not they came to an end.
        asked: SHA-256 of the model that the burnt round was asked with; empty before the first round.
    """

    burnt_round: Annotated[int, Field(ge=0)]
    steps: Annotated[int, Field(ge=0)]
    asked: str


@dataclass(frozen=True)
class Answer:
    """What a round gave; it is on disk before it leaves.

    Attributes:
        round: which one.
        update: the change of the trainable parameters, float32 ``[trainable]``.
        optimizer: what the optimiser remembers after it.
    """

    round: int
    update: Parameters
    optimizer: bytes


class StudyState:
    """The memory of one study at one site."""

    def __init__(self, site_folder: Path, study: Study) -> None:
        self._folder = site_folder / "studies" / study.id
        self._study = study

    @property
    def progress(self) -> Progress:
        """As it stands on disk.

        Raises:
            DataError: it cannot be read; then nothing may be trained.
        """
        path = self._folder / "progress.json"
        if not path.exists():
            return Progress(burnt_round=0, steps=0, asked="")
        try:
            return Progress.model_validate_json(path.read_bytes())
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read ({error}); restore it, or end the study here") from error

    @property
    def answer(self) -> Answer | None:
        """The answer to the last round that was finished; None before the first.

        Raises:
            DataError: it cannot be read.
        """
        path = self._folder / "answer.safetensors"
        if not path.exists():
            return None
        try:
            held = load(path.read_bytes())
            return Answer(int(held["round"][0]), held["update"], held["optimizer"].tobytes())
        except (OSError, KeyError, SafetensorError) as error:
            raise DataError(f"{path} cannot be read ({error}); restore it, or end the study here") from error

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other process out of this study at this site, from before the burn to the release."""
        with locked(self._folder / "lock", wait=True):
            yield

    def burn(self, round_number: int, asked: str) -> Progress:
        """Charge a round before it is trained, so that a crash can only overstate the cost.

        The round that was begun last may be asked for again with the same model, and is not charged again:
        its answer either lies on disk, and is the one that is given, or has never left.

        Args:
            round_number: which round.
            asked: SHA-256 of the model it starts from.

        Raises:
            RefusedError: its noise may have been used already, or the study has no steps left.
        """
        before = self.progress
        if (round_number, asked) == (before.burnt_round, before.asked):
            return before
        if round_number <= before.burnt_round:
            raise RefusedError("round-burnt", f"round {round_number} was begun before; ask for a later one")
        steps = before.steps + self._study.training.steps
        if steps > self._study.total_steps:
            raise RefusedError("steps-exhausted", f"the study has {self._study.total_steps} steps, all used")
        values = {"burnt_round": round_number, "steps": steps, "asked": asked}
        after = validated(Progress, values, "progress")
        write_whole(self._folder / "progress.json", after.model_dump_json().encode())
        return after

    def remember(self, answer: Answer) -> None:
        """Keep an answer; only then may it leave."""
        content = {
            "round": np.array([answer.round]),
            "update": answer.update,
            "optimizer": np.frombuffer(answer.optimizer, dtype=np.uint8),
        }
        write_whole(self._folder / "answer.safetensors", save(content))


def site_secret(site_folder: Path) -> bytes:
    """The site's secret; drawn from the operating system the first time, mode 0600.

    Raises:
        DataError: the file is there but is no secret.
    """
    path = site_folder / "secret"
    site_folder.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        secret = path.read_bytes()
        if len(secret) != SECRET_BYTES:
            raise DataError(f"{path} holds {len(secret)} bytes, not {SECRET_BYTES}; restore it") from None
        return secret
    with os.fdopen(descriptor, "wb") as file:
        secret = os.urandom(SECRET_BYTES)
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
    return secret
