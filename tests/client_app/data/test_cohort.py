from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from client_app.data.cohort import load_cohort
from client_app.site import SimulatedData
from federation.errors import ConfigError, DataError
from federation.tasks import Cohort


def data(*parts):
    return SimulatedData(parts=parts, of=4)


@pytest.fixture
def given(monkeypatch):
    """``given(cohort)``: from now on every task has this one."""

    def give(cohort):
        task = SimpleNamespace(cohort=lambda part, parts: cohort)
        monkeypatch.setattr("client_app.data.cohort.load_task", lambda *_: task)

    return give


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
def test_numbers_of_another_kind_are_named(name, make_study, given):
    task = make_study().task
    part = load_cohort(data(0), task)
    wrong = replace(part.train, **{name: getattr(part.train, name).astype(np.float64)})

    given(Cohort("wrong", wrong, wrong))
    with pytest.raises(DataError, match=f"gives {name} as float64; they must be"):
        load_cohort(data(0), task)


def test_a_hospital_knows_who_its_patients_are(make_study):
    cohort = load_cohort(data(1, 2), make_study().task)
    assert cohort.train.identities[::24] == ("1-0", "2-0")
    assert cohort.test.identities[::6] == ("1-test-0", "2-test-0")


@pytest.mark.parametrize("half", ["train", "test"])
def test_a_task_that_does_not_say_who_its_patients_are_is_refused(half, make_study, given):
    cohort = load_cohort(data(0), make_study().task)
    given(replace(cohort, **{half: replace(getattr(cohort, half), identities=())}))
    with pytest.raises(DataError, match="task squares does not say who its patients are"):
        load_cohort(data(0), make_study().task)


def test_a_half_of_nobody_has_nobody_to_name(make_study, given):
    cohort = load_cohort(data(0), make_study().task)
    given(replace(cohort, test=cohort.test.only([])))
    assert len(load_cohort(data(0), make_study().task).test) == 0


def test_a_patient_in_both_halves_is_refused_and_not_named(make_study, given):
    cohort = load_cohort(data(0), make_study().task)
    shared = ("0-7", "0-9", *cohort.test.identities[2:])
    given(replace(cohort, test=replace(cohort.test, identities=shared)))
    with pytest.raises(DataError, match="task squares has 2 patients in train and in test") as error:
        load_cohort(data(0), make_study().task)
    assert "0-7" not in str(error.value)


def test_a_patient_in_two_parts_is_refused(make_study, given):
    given(load_cohort(data(0), make_study().task))
    with pytest.raises(DataError, match="share 24 patients"):
        load_cohort(data(0, 1), make_study().task)
