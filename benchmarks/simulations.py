"""Simulations as processes of their own, timed from outside."""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


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
    """Run ``./scripts/simulate`` with ``overrides`` into ``folder``."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command: Sequence[str] = [sys.executable, "-m", "simulation", "-q", f"run_dir={folder}", *overrides]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - begun
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Timed(json.loads((folder / "summary.json").read_text()), cpu, wall)
