import numpy as np
import pytest

from federation.errors import DataError
from federation.tasks import load_task, pool
from tasks.nodule_ct.label import Label
from tasks.nodule_ct.protocol import PROTOCOLS, protocol_number
from tasks.nodule_ct.shape import largest_slice
from tasks.split import in_train


def test_the_hospitals_have_the_patients_of_the_data_card(cohorts):
    counts = [(len(c.train), len(c.test), c.train.patient_count, c.test.patient_count) for c in cohorts]
    assert counts == [
        (311, 102, 163, 52),
        (278, 87, 146, 41),
        (120, 48, 62, 26),
        (121, 44, 59, 18),
        (121, 32, 55, 16),
    ]
    malignant = [int(c.train.targets.sum() + c.test.targets.sum()) for c in cohorts]
    assert malignant == [124, 133, 50, 40, 38]
    assert int(cohorts[4].test.targets.sum()) == 5


def test_no_patient_is_in_two_hospitals(nodules):
    hospitals = {}
    for nodule in nodules:
        hospitals.setdefault(nodule.patient, set()).add(protocol_number(nodule.slice_thickness))
    assert all(len(numbers) == 1 for numbers in hospitals.values())


def patients_on_both_sides(nodules, train):
    sides = {}
    for nodule in nodules:
        sides.setdefault(nodule.patient, set()).add(train(nodule))
    return sum(len(both) == 2 for both in sides.values())


def test_no_patient_is_in_both_halves(nodules, cohorts):
    assert patients_on_both_sides(nodules, lambda nodule: in_train(nodule.patient)) == 0
    # And the cohorts keep to that: together their halves have no more patients than are labelled.
    labelled = {n.patient for n in nodules if Label.MALIGNANCY.target(n) is not None}
    assert sum(c.train.patient_count + c.test.patient_count for c in cohorts) == len(labelled)


def test_a_split_by_nodule_instead_of_patient_is_caught(nodules):
    assert patients_on_both_sides(nodules, lambda nodule: in_train(nodule.identity)) > 0


def test_about_three_quarters_of_the_patients_may_be_learnt_from(nodules):
    assert 0.7 < np.mean([in_train(patient) for patient in {n.patient for n in nodules}]) < 0.8


def test_images_are_ready_for_a_network(cohorts):
    for half in (half for c in cohorts for half in (c.train, c.test)):
        assert half.images.dtype == np.float32
        assert half.images.shape == (len(half), 1, 64, 64)
        assert -1 <= half.images.min() < half.images.max() <= 1
        assert sorted(np.unique(half.patients)) == list(range(half.patient_count))
        assert set(half.covariates) == {"area_mm2", "diameter_mm"}


def test_lesion_area_alone_is_a_strong_baseline(cohorts, auc):
    test = pool([cohort.test for cohort in cohorts[:4]])
    assert auc(test.targets, test.covariates["area_mm2"]) == pytest.approx(0.945, abs=0.01)


def test_area_is_a_weaker_baseline_between_5_and_15_mm(cohorts, auc):
    test = pool([cohort.test for cohort in cohorts[:4]])
    diameter = test.covariates["diameter_mm"]
    medium = (diameter >= 5) & (diameter <= 15)
    assert auc(test.targets[medium], diameter[medium]) == pytest.approx(0.884, abs=0.01)


def test_a_hospital_is_the_same_in_a_federation_of_any_size(task, cohorts):
    again = task.cohort(0, 1)
    assert again.description == cohorts[0].description == "CT slices of 1.25 mm"
    assert np.array_equal(again.train.images, cohorts[0].train.images)


def test_the_cache_gives_back_what_was_rendered(task, cohorts, monkeypatch, tmp_path):
    monkeypatch.setenv("WARDROUND_CACHE", str(tmp_path))
    rendered, from_cache = task.cohort(3, 4), task.cohort(3, 4)
    for one in (rendered, from_cache):
        assert np.array_equal(one.test.images, cohorts[3].test.images)
        assert np.array_equal(one.test.targets, cohorts[3].test.targets)
        assert np.array_equal(one.test.patients, cohorts[3].test.patients)
        assert one.test.identities == cohorts[3].test.identities


def test_patients_are_called_by_their_pseudonym_whatever_the_label(nodules, cohorts):
    suspicious = load_task("tasks.nodule_ct", {"label": "suspicious"}).cohort(3, 4)
    for half in (cohorts[3].train, suspicious.train):
        known = {n.patient for n in nodules if protocol_number(n.slice_thickness) == 3}
        assert known.issuperset(half.identities)
        assert all(in_train(patient) for patient in half.identities)
    assert set(cohorts[3].train.identities) <= set(suspicious.train.identities)


def test_a_nodule_is_its_own_patient_s(nodules, cohorts):
    area = {}
    for nodule in nodules:
        area.setdefault(nodule.patient, set()).add(largest_slice(nodule)[1])
    train = cohorts[3].train
    for patient, found in zip(train.patients, train.covariates["area_mm2"], strict=True):
        assert found in area[train.identities[patient]]


def test_phantoms_are_nobody(task):
    assert task.public_examples(3, 0).identities == ()


def test_more_hospitals_than_protocols_are_refused(task):
    with pytest.raises(DataError, match="6 hospitals were asked for, but nodule_ct has 5"):
        task.cohort(0, 6)


@pytest.mark.parametrize("part", [-1, 4])
def test_a_hospital_outside_the_federation_is_refused(task, part):
    with pytest.raises(DataError, match=f"hospital {part} of 4 does not exist"):
        task.cohort(part, 4)


def test_every_patient_has_a_suspicious_or_unsuspicious_nodule():
    suspicious = load_task("tasks.nodule_ct", {"label": "suspicious"}).cohort(3, 4)
    assert suspicious.train.patient_count + suspicious.test.patient_count == 107
    assert len(suspicious.train) + len(suspicious.test) == 362


def test_there_is_a_protocol_for_each_hospital_and_none_for_unknown_thickness():
    assert [protocol_number(p.thicknesses[-1]) for p in PROTOCOLS] == [0, 1, 2, 3, 4]
    with pytest.raises(DataError, match=r"7\.5 mm"):
        protocol_number(7.5)
