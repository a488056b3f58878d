"""PneumoniaMNIST over ten hospitals with local noise: computed features against a learnt network.

An image stands for a patient; δ = 1e-5. The scattering head's learning rates, a tenth of ε, were chosen on
the validation images; the test images measure what is left.
"""

import tempfile
from pathlib import Path
from statistics import mean, stdev

from benchmarks.simulations import simulate
from benchmarks.table import Row

SEEDS = range(1, 6)
CNN_SEEDS = range(1, 3)
EPSILONS = {1: 0.1, 3: 0.3, 8: 0.9}

_COMMON = ("study=chest_xray", "federation=simulation_10", "compare=false")
# What most tutorials do: a small network, DP-SGD at each site, averaging.
_NAIVE = (
    "model=small_cnn",
    "model.arguments.channels=[16,32,64]",
    "model.arguments.strides=[2,2,2]",
    "model.trainable=all",
    "pretraining.source=random",
    "privacy.sampling_rate=0.1",
    "training.learning_rate=0.2",
)


def run() -> list[Row]:
    """Mean and standard deviation of the test AUC over seeds, for each ε."""
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for epsilon, rate in EPSILONS.items():
            naive = _areas(Path(scratch) / f"cnn-{epsilon}", epsilon, CNN_SEEDS, *_NAIVE)
            ours = _areas(
                Path(scratch) / f"scattering-{epsilon}", epsilon, SEEDS, f"training.learning_rate={rate}"
            )
            base = f"naive DP-FedAvg of a small CNN, ε = {epsilon}"
            rows += [
                Row(base, "test AUC, mean", mean(naive), ""),
                Row(
                    f"scattering, ε = {epsilon}",
                    "test AUC, mean",
                    mean(ours),
                    "",
                    base,
                    mean(ours) / mean(naive),
                ),
                Row(f"scattering, ε = {epsilon}", "test AUC, deviation", stdev(ours), ""),
            ]
    return rows


def _areas(folder: Path, epsilon: int, seeds: range, *overrides: str) -> list[float]:
    promise = f"privacy.epsilon={epsilon}"
    return [
        simulate(folder / str(seed), *_COMMON, promise, f"seed={seed}", *overrides).summary["pooled"]["auc"]
        for seed in seeds
    ]
