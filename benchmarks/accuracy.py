"""X-rays whose patients are known, over four hospitals with local noise: what patient-level privacy costs.

Kermany et al. 2018, split by patient: nobody is in both halves, and (ε, δ = 1e-5) is for a patient with up to
30 images. Learning rates are those of ``benchmarks.chest_xray``, chosen on other images.
"""

import tempfile
from pathlib import Path
from statistics import mean, stdev

from benchmarks.chest_xray import RATES
from benchmarks.sweeps import areas
from benchmarks.table import Row

SEEDS = 5
_STUDY = ("study=chest_xray_patients",)


def run() -> list[Row]:
    """Mean and deviation of the test AUC over seeds, for each ε, beside the same without privacy."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        plain = (*_STUDY, "privacy=none", f"training.learning_rate={RATES[8]}")
        without = mean(areas(folder / "without", 2, plain))
        rows = [Row("no privacy", "test AUC, mean of 2", without, "")]
        for epsilon, rate in RATES.items():
            settings = (*_STUDY, f"privacy.epsilon={epsilon}", f"training.learning_rate={rate}")
            found = areas(folder / f"{epsilon}", SEEDS, settings)
            case = f"ε = {epsilon}"
            rows += [
                Row(case, f"test AUC, mean of {SEEDS}", mean(found), "", "no privacy", mean(found) / without),
                Row(case, "test AUC, deviation", stdev(found), ""),
            ]
    return rows
