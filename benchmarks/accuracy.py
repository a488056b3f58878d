"""What distributed noise gives: the accuracy of pooled training, where each hospital's own noise gives less.

Two sets of X-rays: PneumoniaMNIST over ten hospitals, where an image stands for a patient; and Kermany et al.
2018 over four, split by patient, who has up to 30 images. δ = 1e-5; one hospital may collude with the
coordinator, and one may drop out. The same recipe, steps and rates three times: noise shared by the hospitals
through secure sums, each hospital's own noise, and all patients in one place. Rates are those of
``benchmarks.chest_xray``, chosen on validation images. Seeds are paired; a seed gives noise and sampling, and
each study has its own of both.
"""

import tempfile
from pathlib import Path
from statistics import mean, stdev

from benchmarks.chest_xray import RATES
from benchmarks.sweeps import areas
from benchmarks.table import Row

SEEDS = 5
_IMAGES = ("study=chest_xray", "federation=simulation_10")
_PATIENTS = ("study=chest_xray_patients", "federation=simulation_4")


def run() -> list[Row]:
    """Mean and deviation of the test AUC over seeds, for each set of X-rays and each ε."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        return [
            row
            for name, hospitals, study in (("images", 10, _IMAGES), ("patients", 4, _PATIENTS))
            for epsilon in RATES
            for row in _case(
                folder / f"{name}-{epsilon}", f"{name}, ε = {epsilon}", hospitals, study, epsilon
            )
        ]


def _case(folder: Path, case: str, hospitals: int, study: tuple[str, ...], epsilon: int) -> list[Row]:
    recipe = (f"privacy.epsilon={epsilon}", f"training.learning_rate={RATES[epsilon]}")
    everybody = ",".join(str(part) for part in range(hospitals))
    alone = (
        "federation=alone",
        f"federation.sites.alone.data.parts=[{everybody}]",
        f"federation.sites.alone.data.of={hospitals}",
        "quorum=1",
    )
    shared = areas(folder / "shared", SEEDS, (*study, "privacy=distributed", *recipe))
    local = areas(folder / "local", SEEDS, (*study, "privacy=local_3", *recipe))
    pooled = areas(folder / "pooled", SEEDS, (study[0], *alone, "privacy=local_3", *recipe))
    above = [one - other for one, other in zip(shared, local, strict=True)]
    return [
        Row(case, f"pooled, mean of {SEEDS}", mean(pooled), ""),
        Row(case, "each its own noise", mean(local), "", "pooled", mean(local) / mean(pooled)),
        Row(case, "distributed noise", mean(shared), "", "pooled", mean(shared) / mean(pooled)),
        Row(case, "distributed, deviation", stdev(shared), ""),
        Row(case, "distributed, above its own noise", mean(above), ""),
        Row(case, "the least of these, seed by seed", min(above), ""),
    ]
