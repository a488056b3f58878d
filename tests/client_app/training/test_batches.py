import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from client_app.training.batches import Patients, sample_patients
from client_app.training.stream import Stream
from federation.tasks import Examples

SECRET = bytes(32)


def cohort(images_of):
    """Patients with so many images each; each image says which patient it shows, and they lie mixed."""
    of_patient = np.random.default_rng(0).permutation(np.repeat(np.arange(len(images_of)), images_of))
    images = of_patient[:, None].astype(np.float32)
    return Patients(Examples(images, of_patient % 2, of_patient, covariates={}))


@given(
    images_of=st.lists(st.integers(1, 12), min_size=1, max_size=15),
    most=st.integers(1, 20),
    data=st.data(),
)
def test_batches_hold_the_chosen_patients_whole_and_once(images_of, most, data):
    patients = cohort(images_of)
    chosen = np.array(sorted(data.draw(st.sets(st.sampled_from(range(len(images_of)))))), dtype=np.int64)
    seen = []
    for batch in patients.batches(chosen, most):
        assert len(batch.images) == len(batch.targets) == max(1, most // batch.each) * batch.each
        people = zip(batch.images.split(batch.each), batch.targets.split(batch.each), strict=True)
        for (images, targets), counted in zip(people, batch.counted, strict=True):
            who = int(images[0, 0])
            assert (images == who).all()
            assert len(images) == images_of[who], "no patient is split"
            assert (targets == who % 2).all()
            if counted:
                seen.append(who)
    assert sorted(seen) == chosen.tolist()


@given(images_of=st.lists(st.integers(1, 4), min_size=1, max_size=15), most=st.integers(1, 20))
def test_shapes_of_batches_tell_nothing_of_who_is_there(images_of, most):
    patients = cohort(images_of)
    for number in range(1, len(images_of) + 1):
        for batch in patients.batches(np.arange(number), most):
            assert len(batch.counted) == max(1, most // batch.each)


def test_no_patients_make_no_batch():
    assert list(cohort([1, 2]).batches(np.array([], dtype=np.int64), 4)) == []


def test_what_the_head_sees_takes_the_place_of_the_images():
    patients = cohort([1, 3])
    other = patients.seen_as(10 * patients.images)
    (batch,) = other.batches(np.array([1]), 3)
    assert torch.equal(batch.images, torch.full((3, 1), 10.0))
    assert patients.images.max() == 1


@pytest.mark.parametrize("rate", [0.02, 0.3, 0.9])
def test_each_patient_is_sampled_independently_with_the_sampling_rate(rate):
    steps, people = 2000, 50
    taken = np.zeros((steps, people), dtype=bool)
    for step in range(steps):
        taken[step, sample_patients(Stream(SECRET, rate, step), people, rate)] = True
    assert binomtest(int(taken.sum()), taken.size, rate).pvalue > 1e-5
    for person in range(people):
        assert binomtest(int(taken[:, person].sum()), steps, rate).pvalue > 1e-6
    expected = people * rate * (1 - rate)
    assert taken.sum(axis=1).var() == pytest.approx(expected, rel=0.2), "the size of a sample varies"


def test_a_sample_may_be_empty_and_with_rate_1_it_is_everybody():
    assert any(len(sample_patients(Stream(SECRET, step), 5, 0.05)) == 0 for step in range(20))
    assert sample_patients(Stream(SECRET, 0), 5, 1.0).tolist() == [0, 1, 2, 3, 4]


@given(images_of=st.lists(st.integers(1, 12), min_size=1, max_size=15))
def test_one_image_each_leaves_every_patient_one_of_their_own(images_of):
    patients = cohort(images_of)
    one = patients.one_image_each(Stream(SECRET, "images"))
    (batch,) = (batch.unfilled() for batch in one.batches(np.arange(len(images_of)), 1000))
    assert batch.images[:, 0].tolist() == list(range(len(images_of)))
    assert batch.each == 1
    whole = [batch.unfilled() for batch in patients.batches(np.arange(len(images_of)), 1000)]
    assert sum(len(batch.images) for batch in whole) == sum(images_of), "the patients stay as they are"


def test_each_image_of_a_patient_is_drawn_as_often_as_the_others():
    numbers = np.arange(3, dtype=np.float32)[:, None]
    patients = Patients(Examples(numbers, np.zeros(3, np.int64), np.zeros(3, np.int64), covariates={}))
    drawn = [
        int(next(patients.one_image_each(Stream(SECRET, "images", n)).batches(np.array([0]), 9)).images[0, 0])
        for n in range(900)
    ]
    assert all(binomtest(drawn.count(image), 900, 1 / 3).pvalue > 1e-4 for image in range(3))
