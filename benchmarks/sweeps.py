"""What models reach over several seeds, from one sweep."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.processes import run_watched
from federation.overrides import quoted
from simulation.sweep.record import SweepRecord


def areas(folder: Path, seeds: int, settings: Sequence[str]) -> list[float]:
    """The test AUC of each seed's model, seeds counted from 1.

    Raises:
        FailedError: a run failed.
    """
    several = f"seed={','.join(str(seed) for seed in range(1, seeds + 1))}"
    command = [sys.executable, "-m", "simulation", "-q", "-m", *settings, several, "compare=false"]
    run_watched([*command, f"run_dir={quoted(folder)}"])
    record = SweepRecord.model_validate_json((folder / "sweep.json").read_bytes())
    shutil.rmtree(folder)  # a run keeps the model of every round
    return [job.auc for job in record.measured if job.auc is not None]
