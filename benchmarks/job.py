"""The job that ``./scripts/bench simulation`` gives to everybody, and the part of it that is everybody's own.

Eight hospitals with 128 patients each train a MONAI classifier of some 60 thousand parameters, five rounds of
five full-batch SGD steps without momentum, without privacy, and the mean of their models is taken: no draw of
random numbers is left, so that every contestant ends in the same model. After each round that model is
measured as a simulation does it, on all test patients and on each hospital's, with bootstrapped intervals.
"""

from collections.abc import Sequence

import numpy as np
import torch
from monai.networks.nets import Classifier
from torch import nn

from benchmarks.images import SIDE, Images
from client_app.training.evaluation import predict
from federation.tasks import Cohort, pool
from simulation.measure import measure

SITES, PATIENTS, TEST_PATIENTS = 8, 128, 32
ROUNDS, STEPS, RATE = 5, 5, 0.01
# What stands in the denominator of a step: the cohort size as hospitals declare it, in tens.
DECLARED = 130
CHANNELS, STRIDES, GROUPS = (16, 40, 64), (2, 2, 2), 8


def overrides() -> list[str]:
    """The job as settings of Wardround."""
    return [
        "study=chest_xray_cnn",
        *federation(SITES),
        *images(PATIENTS, TEST_PATIENTS),
        f"model.arguments.channels={list(CHANNELS)}",
        f"model.arguments.strides={list(STRIDES)}",
        "model.arguments.num_res_units=1",
        "privacy.sampling_rate=1.0",
        "training.optimizer=sgd",
        f"training.learning_rate={RATE}",
        f"training.steps={STEPS}",
        f"rounds={ROUNDS}",
        "seed=0",
        "compare=false",
        "audit=false",
        "aggregation=plain",
    ]


def federation(sites: int) -> list[str]:
    """The settings of a federation of as many hospitals as one likes."""
    names = ", ".join(f"site_{number}: {{}}" for number in range(sites))
    return ["~federation.sites", f"+federation.sites={{{names}}}"]


def images(patients: int, test_patients: int) -> list[str]:
    """The settings of a study on random images."""
    return [
        "task.package=benchmarks.images",
        "site.policy.tasks=[benchmarks.images]",
        "~task.options",
        f"+task.options={{patients: {patients}, test_patients: {test_patients}}}",
    ]


def cohorts() -> list[Cohort]:
    """Every hospital's patients."""
    task = Images(PATIENTS, TEST_PATIENTS)
    return [task.cohort(part, SITES) for part in range(SITES)]


def network() -> nn.Module:
    """The initial model, made without Wardround."""
    torch.manual_seed(0)
    made: nn.Module = Classifier(
        in_shape=(1, SIDE, SIDE),
        classes=2,
        channels=CHANNELS,
        strides=STRIDES,
        num_res_units=1,
        act="relu",
        norm=("group", {"num_groups": GROUPS}),
    )
    return made


def evaluate(trained: nn.Module, patients: Sequence[Cohort]) -> None:
    """Measure a model as ``simulation.observer.Judge`` does."""
    tests = [cohort.test for cohort in patients]
    scores = [predict(trained, torch.from_numpy(test.images)) for test in tests]
    measure(np.concatenate(scores), pool(tests))
    for score, test in zip(scores, tests, strict=True):
        measure(score, test)
