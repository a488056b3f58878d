"""PneumoniaMNIST over ten hospitals with local noise: computed features against a learnt network.

An image stands for a patient; δ = 1e-5. Learning rates of both were chosen on the validation images, the
naive network's of .01, .03, .1 and .3; the test images measure what is left.
"""

import tempfile
from pathlib import Path
from statistics import mean, stdev

from benchmarks.sweeps import areas
from benchmarks.table import Row

SEEDS = 5
CNN_SEEDS = 2
# By ε: of the scattering head, a twentieth of ε; and of the naive network.
RATES = {1: 0.05, 3: 0.15, 8: 0.4}
CNN_RATES = {1: 0.03, 3: 0.1, 8: 0.1}

_COMMON = ("study=chest_xray", "federation=simulation_10")
# What most tutorials do: a small network, DP-SGD at each site, averaging.
_NAIVE = (
    "model=small_cnn",
    "model.arguments.channels=[16,32,64]",
    "model.arguments.strides=[2,2,2]",
    "model.trainable=all",
    "pretraining.source=random",
    "privacy.sampling_rate=0.1",
)


def run() -> list[Row]:
    """Mean and standard deviation of the test AUC over seeds, for each ε."""
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for epsilon, rate in RATES.items():
            promise = (*_COMMON, f"privacy.epsilon={epsilon}")
            slow = (*_NAIVE, f"training.learning_rate={CNN_RATES[epsilon]}")
            naive = areas(folder / f"cnn-{epsilon}", CNN_SEEDS, (*promise, *slow))
            ours = areas(
                folder / f"scattering-{epsilon}", SEEDS, (*promise, f"training.learning_rate={rate}")
            )
            base = f"naive DP-FedAvg of a small CNN, ε = {epsilon}"
            case, ratio = f"scattering, ε = {epsilon}", mean(ours) / mean(naive)
            rows += [
                Row(base, f"test AUC, mean of {CNN_SEEDS}", mean(naive), ""),
                Row(case, f"test AUC, mean of {SEEDS}", mean(ours), "", base, ratio),
                Row(case, "test AUC, deviation", stdev(ours), ""),
            ]
    return rows
