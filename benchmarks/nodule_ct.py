"""The default study over three seeds, beside what it has to beat."""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.table import Row

SEEDS = (1, 2, 3)


def run() -> list[Row]:
    """Mean test AUC over the seeds, and the CPU and wall seconds of one whole simulation."""
    with tempfile.TemporaryDirectory() as scratch:
        timed = [_simulate(Path(scratch) / str(seed), seed) for seed in SEEDS]
    summaries = [summary for summary, _, _ in timed]
    ruler = summaries[0]["baselines"]["lesion area"]
    cases = {"lesion area": [ruler] * len(SEEDS), "together, ε = 8": [s["pooled"] for s in summaries]}
    for site in summaries[0]["sites"]:
        cases[f"{site} alone, ε = 8"] = [s["comparison"]["alone"][site] for s in summaries]
    cases["pooled, ε = 8"] = [s["comparison"]["pooled"] for s in summaries]
    cases["pooled, no privacy"] = [s["comparison"]["pooled_without_privacy"] for s in summaries]
    rows = [row for case, measured in cases.items() for row in _accuracy(case, measured, ruler)]
    cpu, wall = (sorted(times)[len(SEEDS) // 2] for times in zip(*((c, w) for _, c, w in timed), strict=True))
    return [
        *rows,
        Row("whole simulation, warm caches", "CPU, median", cpu, "s"),
        Row("whole simulation, warm caches", "wall, median", wall, "s"),
    ]


def _accuracy(case: str, measured: list[dict[str, Any]], ruler: dict[str, Any]) -> list[Row]:
    whole = mean(m["auc"] for m in measured)
    harder = mean(m["stratum"]["auc"] for m in measured)
    return [
        Row(case, "test AUC, all", whole, "", "lesion area", whole / ruler["auc"]),
        Row(case, "test AUC, 5–15 mm", harder, "", "lesion area", harder / ruler["stratum"]["auc"]),
    ]


def _simulate(folder: Path, seed: int) -> tuple[dict[str, Any], float, float]:
    """The summary of one run, its CPU seconds and its wall seconds."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, "-m", "simulation", "-q", f"seed={seed}", f"run_dir={folder}"]
    subprocess.run(command, check=True, env=os.environ, stdout=subprocess.DEVNULL)  # noqa: S603
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - begun
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return json.loads((folder / "summary.json").read_text()), cpu, wall
