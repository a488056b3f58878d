from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import rankdata

from federation.tasks import Cohort, Task, load_task
from tasks.nodule_ct.lidc import Nodule, read_nodules
from tasks.nodule_ct.protocol import PROTOCOLS


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No test reads or writes the developer's own cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WARDROUND_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def nodules() -> tuple[Nodule, ...]:
    return read_nodules()


@pytest.fixture(scope="session")
def some_nodules(nodules: tuple[Nodule, ...]) -> list[Nodule]:
    """A few of every protocol, texture and calcification."""
    return list(nodules[::53])


@pytest.fixture(scope="session")
def task() -> Task:
    return load_task("tasks.nodule_ct", {"label": "malignancy"})


@pytest.fixture(scope="session")
def cohorts(task: Task) -> list[Cohort]:
    return [task.cohort(part, len(PROTOCOLS)) for part in range(len(PROTOCOLS))]


def auc(targets: NDArray[np.int64], scores: NDArray[np.float64]) -> float:
    """The area under the ROC curve: the chance that a positive scores higher than a negative."""
    ranks, positives = rankdata(scores), int(targets.sum())
    above = ranks[targets == 1].sum() - positives * (positives + 1) / 2
    return float(above / (positives * (len(targets) - positives)))


@pytest.fixture(scope="session", name="auc")
def auc_fixture():
    return auc
