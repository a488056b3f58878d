"""Simulations as processes of their own, timed from outside."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.processes import run_watched
from federation.overrides import quoted


@dataclass(frozen=True)
class Timed:
    """One simulation.

    Attributes:
        summary: its ``summary.json``.
        cpu: seconds of processor time, of the whole process.
        wall: seconds on the clock.
    """

    summary: dict[str, Any]
    cpu: float
    wall: float


def simulate(folder: Path, *overrides: str) -> Timed:
    """Run ``./scripts/simulate`` with ``overrides`` into ``folder``.

    Raises:
        FailedError: it failed.
    """
    used = run_watched([sys.executable, "-m", "simulation", "-q", f"run_dir={quoted(folder)}", *overrides])
    return Timed(json.loads((folder / "summary.json").read_text()), used.cpu, used.wall)
