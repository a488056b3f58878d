from dataclasses import replace

import numpy as np
import pytest

from client_app.data.cohort import load_cohort
from client_app.site import SimulatedData
from federation.errors import ConfigError, DataError
from federation.tasks import Cohort


def data(*parts):
    return SimulatedData(parts=parts, of=4)


def test_a_hospital_has_its_part_of_the_data(make_study):
    cohort = load_cohort(data(2), make_study().task)
    assert cohort.description == "part 2 of 4"
    assert cohort.train.patient_count == 24


def test_a_hospital_of_several_parts_has_all_their_patients(make_study):
    task = make_study().task
    both = load_cohort(data(0, 3), task)
    first, second = load_cohort(data(0), task), load_cohort(data(3), task)
    assert both.description == "part 0 of 4, part 3 of 4"
    assert both.train.patient_count == 48, "patients of two parts are never taken for one"
    assert np.array_equal(both.train.images, np.concatenate([first.train.images, second.train.images]))


@pytest.mark.parametrize("task", [{"channels": 3}, {"image_size": [24, 24]}, {"image_size": [12, 12, 12]}])
def test_images_of_another_shape_are_refused(task, make_study):
    with pytest.raises(DataError, match=r"\[1, 12, 12\], the study expects"):
        load_cohort(data(0), make_study(task=task).task)


def test_targets_outside_the_classes_are_refused(make_study, monkeypatch):
    task = make_study().task
    one = task.model_copy(update={"classes": ("plain",)})
    with pytest.raises(DataError, match="targets outside its 1 classes"):
        load_cohort(data(0), one)


def test_a_task_that_is_not_installed_is_named(make_study):
    with pytest.raises(ConfigError, match="no_such_task"):
        load_cohort(data(0), make_study(task={"package": "no_such_task"}).task)


@pytest.mark.parametrize("name", ["images", "targets"])
def test_numbers_of_another_kind_are_named(name, make_study, monkeypatch):
    task = make_study().task
    part = load_cohort(data(0), task)
    wrong = replace(part.train, **{name: getattr(part.train, name).astype(np.float64)})

    class Wrong:
        def cohort(self, part_, parts):
            return Cohort("wrong", wrong, wrong)

    monkeypatch.setattr("client_app.data.cohort.load_task", lambda *_: Wrong())
    with pytest.raises(DataError, match=f"gives {name} as float64; they must be"):
        load_cohort(data(0), task)
