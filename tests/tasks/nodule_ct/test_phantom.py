import numpy as np
import pytest

from federation.errors import DataError
from tasks.nodule_ct import cohort, lidc
from tasks.nodule_ct.phantom import phantom


def test_phantoms_depend_only_on_the_seed(task):
    few, many = task.public_examples(20, seed=7), task.public_examples(40, seed=7)
    assert np.array_equal(few.images, many.images[:20])
    assert np.array_equal(few.targets, many.targets[:20])
    assert not np.array_equal(few.images, task.public_examples(20, seed=8).images)


def test_a_phantom_has_the_same_bits_whichever_were_made_before():
    alone = phantom(3, 11)
    backwards = [phantom(3, number) for number in range(12, 9, -1)]
    assert np.array_equal(alone.image, backwards[1].image)
    assert alone.target == backwards[1].target


def test_phantoms_need_no_patient(task, monkeypatch):
    def refuse(*_):
        raise AssertionError("a patient's data were read")

    monkeypatch.setattr(lidc, "database", refuse)
    monkeypatch.setattr(cohort, "read_nodules", refuse)
    assert len(task.public_examples(5, seed=99)) == 5


def test_each_phantom_is_a_patient_of_its_own(task):
    assert task.public_examples(20, seed=7).patient_count == 20


def test_both_labels_occur_and_size_tells_much_of_them_but_not_all(task, auc):
    examples = task.public_examples(400, seed=1)
    assert 0.3 < examples.targets.mean() < 0.6
    assert 0.8 < auc(examples.targets, examples.covariates["area_mm2"]) < 0.97


def test_no_phantoms_are_refused(task):
    with pytest.raises(DataError, match="0 public examples"):
        task.public_examples(0, seed=1)
