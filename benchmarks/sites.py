"""Ten, thirty and a hundred simulated hospitals of 50 patients in one process, with local privacy.

Only the head learns, as in the default study, so that what it sees of the images is remembered from round to
round. Images are random. Targets: time that is linear in the hospitals, and at most 2 GiB for a hundred.
"""

import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.job import federation, images
from benchmarks.processes import Usage, run_watched
from benchmarks.table import Row
from federation.config import CONF
from federation.overrides import quoted

SITES = (10, 30, 100)
PATIENTS, TEST_PATIENTS = 50, 20
ROUNDS = 5
REPETITIONS = 3


def run() -> list[Row]:
    """Medians of whole simulations, beside those of ten hospitals."""
    with TemporaryDirectory() as scratch:
        taken = {
            sites: [_simulate(Path(scratch) / f"{sites}-{number}", sites) for number in range(REPETITIONS)]
            for sites in SITES
        }
    return [row for sites, usages in taken.items() for row in _rows(sites, usages, taken[SITES[0]])]


def _simulate(folder: Path, sites: int) -> Usage:
    settings = [
        "study=chest_xray_cnn",
        "privacy=local",
        "model.trainable=head",
        "training.optimizer=sgd",
        "training.learning_rate=0.01",
        "training.momentum=0.9",
        "training.steps=10",
        f"rounds={ROUNDS}",
        "compare=false",
        "audit=false",
        "aggregation=plain",
        *federation(sites),
        *images(PATIENTS, TEST_PATIENTS),
    ]
    command = [sys.executable, "-m", "simulation", "-q", f"run_dir={quoted(folder)}", *settings]
    return run_watched(command, {"PYTHONPATH": str(CONF.parent)})


def _rows(sites: int, usages: list[Usage], few: list[Usage]) -> list[Row]:
    case, baseline = f"{sites} sites", f"{SITES[0]} sites"
    rows = []
    for metric, unit, figure in (
        ("whole, CPU", "s", lambda usage: usage.cpu),
        ("whole, wall", "s", lambda usage: usage.wall),
        ("most memory", "MiB", lambda usage: usage.memory / 2**20),
    ):
        value, before = median(map(figure, usages)), median(map(figure, few))
        if sites == SITES[0]:
            rows.append(Row(case, metric, value, unit))
        else:
            rows.append(Row(case, metric, value, unit, baseline, value / before))
    return rows
