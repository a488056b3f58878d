import socket

import numpy as np
import pytest

from federation.errors import ConfigError, DataError
from federation.tasks import load_task


def write(path, **halves):
    """An archive as MedMNIST makes them, with so many images of each half."""
    arrays = {}
    for name, count in halves.items():
        arrays[f"{name}_images"] = np.full((count, 28, 28), len(name), np.uint8)
        arrays[f"{name}_labels"] = (np.arange(count) % 2).astype(np.uint8)[:, None]
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)


def mnist(folder, **options):
    return load_task("tasks.chest_xray", options, folder)


@pytest.fixture
def no_internet(monkeypatch):
    def refuse(*_args, **_keywords):
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_the_real_file_has_the_images_of_the_data_card(shared):
    task = mnist(shared("pneumoniamnist/pneumoniamnist_28.npz"))
    cohorts = [task.cohort(part, 4) for part in range(4)]
    assert [(len(c.train), len(c.test)) for c in cohorts] == [
        (1177, 156),
        (1177, 156),
        (1176, 156),
        (1177, 156),
    ]
    assert sum(int(c.train.targets.sum()) for c in cohorts) == 3494
    assert sum(int(c.test.targets.sum()) for c in cohorts) == 390
    for half in (half for cohort in cohorts for half in (cohort.train, cohort.test)):
        assert half.images.dtype == np.float32
        assert half.images.shape == (len(half), 1, 28, 28)
        assert 0 <= half.images.min() < half.images.max() <= 1
        assert half.patient_count == len(half)


def test_the_real_validation_images_take_the_place_of_the_test_images(shared):
    task = mnist(shared("pneumoniamnist/pneumoniamnist_28.npz"), held_out="validation")
    cohort = task.cohort(0, 1)
    assert (len(cohort.train), len(cohort.test), int(cohort.test.targets.sum())) == (4707, 524, 389)


def test_choosing_on_validation_images_never_reads_the_test_images(tmp_path):
    write(tmp_path / "pneumoniamnist.npz", train=6, val=4)  # there are none to read
    assert len(mnist(tmp_path, held_out="validation").cohort(0, 1).test) == 4
    with pytest.raises(DataError, match=r"test_images"):
        mnist(tmp_path).cohort(0, 1)


def test_the_validation_images_are_not_learnt_from(tmp_path):
    write(tmp_path / "pneumoniamnist.npz", train=6, val=4, test=2)
    cohort = mnist(tmp_path).cohort(0, 1)
    assert (len(cohort.train), len(cohort.test)) == (6, 2)


def test_an_image_s_half_and_place_say_who_it_shows(tmp_path):
    write(tmp_path / "pneumoniamnist.npz", train=6, val=4, test=4)
    cohorts = [mnist(tmp_path, partition="even", seed=3).cohort(part, 2) for part in range(2)]
    assert {one for c in cohorts for one in c.train.identities} == {f"train-{place}" for place in range(6)}
    assert {one for c in cohorts for one in c.test.identities} == {f"test-{place}" for place in range(4)}
    held_out = mnist(tmp_path, held_out="validation").cohort(0, 1)
    assert set(held_out.test.identities) == {f"val-{place}" for place in range(4)}


def test_the_real_images_show_the_same_patients_however_they_are_dealt(shared):
    folder = shared("pneumoniamnist/pneumoniamnist_28.npz")

    def pairs(parts, **options):
        halves = [
            half
            for part in range(parts)
            for c in (mnist(folder, **options).cohort(part, parts),)
            for half in (c.train, c.test)
        ]
        return sorted(
            (half.identities[patient], image.tobytes())
            for half in halves
            for image, patient in zip(half.images, half.patients, strict=True)
        )

    assert pairs(4) == pairs(3, partition="dirichlet", alpha=1.0, seed=9)


def test_the_archive_that_was_fetched_before_is_used(tmp_path, cache_folder, no_internet):
    write(cache_folder / "pneumoniamnist.npz", train=6, test=2)
    assert len(mnist(tmp_path).cohort(0, 1).train) == 6


def test_without_a_copy_and_without_the_internet_it_says_where_to_put_one(tmp_path, no_internet):
    with pytest.raises(
        DataError, match=r"not in .*pneumoniamnist\.npz.*could not be fetched.*site\.data\.folder"
    ):
        mnist(tmp_path).cohort(0, 1)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"PK\x03\x04 cut short"])
def test_a_file_that_is_no_archive_is_named(tmp_path, content):
    (tmp_path / "pneumoniamnist.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"pneumoniamnist\.npz is not PneumoniaMNIST.*fetch it again"):
        mnist(tmp_path).cohort(0, 1)


def test_an_archive_of_pickles_is_not_opened(tmp_path):
    np.savez(tmp_path / "pneumoniamnist.npz", train_images=np.array([object()]))
    with pytest.raises(DataError, match=r"is not PneumoniaMNIST"):
        mnist(tmp_path).cohort(0, 1)


def test_another_size_is_refused_with_the_one_there_is(tmp_path):
    with pytest.raises((ConfigError, DataError), match=r"task\.options\.size=64.*28 x 28"):
        mnist(tmp_path, size=64).cohort(0, 1)
