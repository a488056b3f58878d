import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from federation.errors import ConfigError, DataError
from federation.tasks import Examples, load_task, pool


def examples(*patients, **covariates):
    count = len(patients)
    return Examples(
        images=np.arange(count, dtype=np.float32)[:, None],
        targets=np.zeros(count, dtype=np.int64),
        patients=np.array(patients, dtype=np.int64),
        covariates={name: np.full(count, value) for name, value in covariates.items()},
    )


def test_examples_count_patients_and_images():
    some = examples(3, 0, 3)
    assert (len(some), some.patient_count) == (3, 2)


def test_arrays_that_do_not_belong_together_are_refused():
    with pytest.raises(DataError, match=r"\[2, 3\] rows"):
        Examples(np.zeros((3, 1)), np.zeros(3), np.zeros(2), {})
    with pytest.raises(DataError, match=r"\[3, 4\] rows"):
        Examples(np.zeros((3, 1)), np.zeros(3), np.zeros(3), {"area": np.zeros(4)})


def test_pooled_hospitals_share_no_patient():
    pooled = pool([examples(0, 1, 1), examples(), examples(0, 5), examples(0)])
    assert len(pooled) == 6
    assert pooled.patient_count == 5


def test_pooling_one_hospital_changes_nothing():
    assert pool([examples(0, 2, 1)]).patients.tolist() == [0, 2, 1]


def test_pooling_keeps_the_covariates_that_all_have():
    pooled = pool([examples(0, area=1.0, age=50.0), examples(0, area=2.0)])
    assert {name: values.tolist() for name, values in pooled.covariates.items()} == {"area": [1.0, 2.0]}


@pytest.mark.parametrize("package", ["tasks.no_such_task", "no_such_package.task"])
def test_a_task_that_is_not_there_is_named(package):
    with pytest.raises(ConfigError, match=f"task.package='{package}' cannot be imported"):
        load_task(package, {})


def test_what_a_task_lacks_is_named(monkeypatch):
    package = ModuleType("half_a_task")
    package.create = lambda options, folder: SimpleNamespace(cohort=None, public_examples=None)
    monkeypatch.setitem(sys.modules, "half_a_task", package)
    with pytest.raises(ConfigError, match=r"'half_a_task': SimpleNamespace has no read_image"):
        load_task("half_a_task", {})


def test_a_package_that_is_no_task_is_named():
    with pytest.raises(ConfigError, match=r"has no function create"):
        load_task("json", {})
