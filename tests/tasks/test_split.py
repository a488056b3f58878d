from hashlib import sha256

from tasks.split import TRAIN_PERCENT, in_train


def test_three_quarters_of_many_patients_may_be_learnt_from():
    share = sum(in_train(f"patient-{number}") for number in range(20_000)) / 20_000
    assert abs(share - 0.75) < 0.01


def test_a_patient_keeps_the_side_for_ever():
    # Written down once: if these change, patients who were held out have been learnt from.
    sides = {"LIDC-IDRI-0078": True, "cleveland-0": True, "cleveland-1": False, "person9": True, "": True}
    assert {patient: in_train(patient) for patient in sides} == sides


def test_the_side_can_be_computed_by_hand():
    for patient in ("a", "b", "Müller", "patient 3"):
        first_four_bytes = int(sha256(patient.encode()).hexdigest()[:8], 16)
        assert in_train(patient) == (first_four_bytes % 100 < TRAIN_PERCENT)
