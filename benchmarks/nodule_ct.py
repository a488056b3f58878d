"""The default study over three seeds, beside what it has to beat."""

import tempfile
from pathlib import Path
from statistics import mean, median
from typing import Any

from benchmarks.simulations import simulate
from benchmarks.table import Row

SEEDS = (1, 2, 3)


def run() -> list[Row]:
    """Mean test AUC over the seeds, and the CPU and wall seconds of one whole simulation."""
    with tempfile.TemporaryDirectory() as scratch:
        timed = [simulate(Path(scratch) / str(seed), f"seed={seed}") for seed in SEEDS]
    summaries = [run.summary for run in timed]
    ruler = summaries[0]["baselines"]["lesion area"]
    cases = {"lesion area": [ruler] * len(SEEDS), "together, ε = 8": [s["pooled"] for s in summaries]}
    for site in summaries[0]["sites"]:
        cases[f"{site} alone, ε = 8"] = [s["comparison"]["alone"][site] for s in summaries]
    cases["pooled, ε = 8"] = [s["comparison"]["pooled"] for s in summaries]
    without = [s["comparison"]["without_privacy"] for s in summaries]
    cases["together, no privacy"] = [w["together"] for w in without]
    cases["pooled, no privacy"] = [w["pooled"] for w in without]
    rows = [row for case, measured in cases.items() for row in _accuracy(case, measured, ruler)]
    return [
        *rows,
        Row("whole simulation, warm caches", "CPU, median", median(run.cpu for run in timed), "s"),
        Row("whole simulation, warm caches", "wall, median", median(run.wall for run in timed), "s"),
    ]


def _accuracy(case: str, measured: list[dict[str, Any]], ruler: dict[str, Any]) -> list[Row]:
    whole = mean(m["auc"] for m in measured)
    harder = mean(m["stratum"]["auc"] for m in measured)
    return [
        Row(case, "test AUC, all", whole, "", "lesion area", whole / ruler["auc"]),
        Row(case, "test AUC, 5–15 mm", harder, "", "lesion area", harder / ruler["stratum"]["auc"]),
    ]
