"""How far a study's round has come, seen from outside: in a hospital's audit log and the run's record."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

from benchmarks.hospitals import Hospitals
from federation.errors import RunError

Phase = Literal["joining", "training", "sending", "opening", "recorded", "evaluating"]
PHASES: tuple[Phase, ...] = ("joining", "training", "sending", "opening", "recorded", "evaluating")
"""When each begins: a hospital has told its key for the study; has charged a round, and trains; has given its
masked vector to its relay; has opened its shares, or signed who is in the sum; the round is on record, and
the next is asked for; a hospital has charged the evaluation, and computes."""
ROUND: tuple[Phase, ...] = PHASES[1:5]
"""Those of each round."""
_EVENTS: dict[Phase, frozenset[str]] = {
    "joining": frozenset({"joined"}),
    "training": frozenset({"reserved"}),
    "sending": frozenset({"released"}),
    "opening": frozenset({"signed", "opened"}),
    "evaluating": frozenset({"reserved"}),
}


def until_phase(
    hospitals: Hospitals,
    run: int,
    phase: Phase,
    site: str,
    *,
    over: Callable[[], bool],
    seconds: float = 300,
) -> None:
    """Wait until ``phase`` begins at ``site``, from now on.

    Raises:
        RunError: it has not in time, or the run is ``over``.
    """
    before, rounds = _count(hospitals, site), len(hospitals.rounds(run))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if phase == "recorded":
            if len(hospitals.rounds(run)) > rounds:
                return
        elif any(_begins(phase, entry) for entry in _entries(hospitals, site, before)):
            return
        if over():
            break
        time.sleep(0.01)
    raise RunError(f"run {run}: {phase} did not begin at {site} within {seconds:g} s, or the run was over")


def _begins(phase: Phase, entry: dict[str, Any]) -> bool:
    # An evaluation has no round.
    fits = phase == "joining" or (entry["round"] is None) == (phase == "evaluating")
    return fits and entry["event"] in _EVENTS[phase]


def _count(hospitals: Hospitals, site: str) -> int:
    return len(_lines(hospitals, site))


def _entries(hospitals: Hospitals, site: str, after: int) -> Iterator[dict[str, Any]]:
    return map(json.loads, _lines(hospitals, site)[after:])


def _lines(hospitals: Hospitals, site: str) -> list[bytes]:
    """Those that are whole: the log is being written to."""
    files = sorted((hospitals.site(site) / "custodian/audit").glob("[0-9]*.jsonl"))
    return [line for file in files for line in file.read_bytes().split(b"\n")[:-1]]
