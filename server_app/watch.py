"""Follows a run at a coordinator to its end, whatever the way there does meanwhile."""

import time
from dataclasses import dataclass
from typing import Literal, Protocol

from federation.errors import ConfigError, RunError
from server_app.control import Control, RunStatus, State
from server_app.progress import Ended, Event, Reader
from server_app.record import RoundLine

# Between two attempts where nobody answers, and between two looks where a log ended before its run.
_PAUSE, _SHORT_PAUSE = 2.0, 0.5


@dataclass(frozen=True)
class Outcome:
    """How a run ended, or that nobody knows.

    Attributes:
        reason: why, where it did not complete.
        model_version: of the released model, where it did.
        rounds: the last that was seen.
    """

    state: State | Literal["unknown"]
    reason: str = ""
    model_version: str = ""
    rounds: int = 0

    @property
    def exit_code(self) -> int:
        """0 where the run completed, 1 where it did not, 2 where nobody knows."""
        return {"completed": 0, "unknown": 2}.get(self.state, 1)


class View(Protocol):
    """Whoever is told."""

    def state(self, status: RunStatus) -> None:
        """Where the run stands, each time it is looked at."""

    def event(self, event: Event) -> None:
        """What its log says."""

    def note(self, text: str) -> None:
        """What is to be said of the way there."""


def watch(control: Control, run: int, view: View, patience: float) -> Outcome:
    """Tell ``view`` how ``run`` goes until it is over, from its beginning.

    Args:
        control: of the coordinator.
        run: Flower's number.
        view: who is told.
        patience: seconds for which nobody may answer before it is given up.
    """
    watching = _Watching(control, run, view)
    lost, since = "", 0.0
    while True:
        try:
            view.state(control.status(run))
            if lost:
                view.note("the coordinator answers again")
            lost = ""
            status = watching.look()
        except ConfigError as error:
            return watching.unknown(str(error))
        except RunError as error:
            if not lost:
                since = time.monotonic()
                view.note(f"{error}; trying on for {patience:g} s")
            lost = str(error)
            if time.monotonic() - since > patience:
                return watching.unknown(lost)
            time.sleep(_PAUSE)
            continue
        if status.over:
            return watching.outcome(status)
        time.sleep(_SHORT_PAUSE)


class _Watching:
    def __init__(self, control: Control, run: int, view: View) -> None:
        self._control = control
        self._run = run
        self._view = view
        self._reader = Reader()
        self._after = 0.0
        self._rounds = 0
        self._ended: Ended | None = None

    def look(self) -> RunStatus:
        """Read the log on from where it was left, and say where the run stands after that."""
        self._read()
        status = self._control.status(self._run)
        if status.over:
            self._read()  # what was written between the log's end and the run's
        return status

    def _read(self) -> None:
        for text, when in self._control.log(self._run, self._after):
            self._after = when
            for event in self._reader.events(text):
                if isinstance(event, Ended):
                    self._ended = event
                elif isinstance(event, RoundLine):
                    self._rounds = event.round
                self._view.event(event)

    def outcome(self, status: RunStatus) -> Outcome:
        """What Flower says of the end; the log, which anybody there may have written to, only explains it."""
        if status.state == "completed":
            version = "" if self._ended is None else self._ended.model_version
            return Outcome("completed", model_version=version, rounds=self._rounds)
        told = "" if self._ended is None else self._ended.reason
        return Outcome(status.state, told or status.details, rounds=self._rounds)

    def unknown(self, reason: str) -> Outcome:
        """What is left to say where the end was not seen."""
        return Outcome("unknown", reason, rounds=self._rounds)
