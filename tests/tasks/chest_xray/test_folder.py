import zipfile

import numpy as np
import pytest
from PIL import Image

from federation.errors import DataError
from tasks.split import in_train


def whole(cohort):
    """Targets and brightness of all images of a hospital."""
    halves = (cohort.train, cohort.test)
    targets = np.concatenate([half.targets for half in halves])
    greys = np.concatenate([half.images.mean(axis=(1, 2, 3)) for half in halves])
    return sorted(zip(targets.tolist(), np.round(greys * 255).astype(int).tolist(), strict=True))


@pytest.fixture
def two_folders(draw):
    """Forty patients, two images each, brighter with pneumonia."""
    for number in range(40):
        label, grey = (("NORMAL", 50), ("PNEUMONIA", 200))[number % 2]
        draw(f"{label}/person{number}_a.png", grey)
        draw(f"{label}/person{number}_b.jpeg", grey)


def test_subfolders_are_the_classes(two_folders, task):
    assert whole(task().cohort(0, 1)) == [(0, 50)] * 40 + [(1, 200)] * 40


def test_images_are_brought_to_one_size(two_folders, draw, task):
    draw("NORMAL/large.png", size=(90, 70))
    train = task(size=32).cohort(0, 1).train
    assert train.images.shape[1:] == (1, 32, 32)
    assert train.images.dtype == np.float32


def test_colours_become_grey(tmp_path, draw, task):
    for number in range(20):
        draw(f"NORMAL/{number}.png", grey=80)
        Image.new("RGB", (20, 20), (80, 80, 80)).save(tmp_path / f"xrays/NORMAL/{number}-colour.png")
    assert whole(task().cohort(0, 1)) == [(0, 80)] * 40


def test_a_zip_is_as_good_as_its_folder(two_folders, tmp_path, task):
    with zipfile.ZipFile(tmp_path / "xrays.zip", "w") as archive:
        for path in (tmp_path / "xrays").rglob("*.*"):
            archive.write(path, path.relative_to(tmp_path / "xrays"))
        archive.writestr("NORMAL/readme.txt", "no image")
        archive.writestr("__MACOSX/NORMAL/._person0_a.png", "no image either")
    pattern = r"person(\d+)"
    unpacked, packed = (
        task(images=images, patient_pattern=pattern).cohort(1, 3) for images in ("xrays", "xrays.zip")
    )
    assert np.array_equal(unpacked.train.images, packed.train.images)
    assert np.array_equal(unpacked.test.targets, packed.test.targets)


def test_the_pattern_tells_whose_image_it_is(two_folders, task):
    cohorts = [task(patient_pattern=r"person(\d+)").cohort(part, 4) for part in range(4)]
    halves = [half for cohort in cohorts for half in (cohort.train, cohort.test)]
    assert sum(half.patient_count for half in halves) == 40
    assert all(len(half) == 2 * half.patient_count for half in halves)
    learnt = sum(in_train(f"1:{number}") for number in range(40))
    assert sum(cohort.train.patient_count for cohort in cohorts) == learnt


def test_without_a_pattern_an_image_stands_for_a_patient(two_folders, task):
    cohort = task().cohort(0, 1)
    assert cohort.train.patient_count + cohort.test.patient_count == 80


def test_a_pattern_without_groups_takes_all_that_it_finds(two_folders, task):
    cohort = task(patient_pattern=r"person\d+").cohort(0, 1)
    assert cohort.train.patient_count + cohort.test.patient_count == 40


def test_two_alternatives_of_a_pattern_never_find_the_same_patient(draw, task):
    for number in range(20):
        draw(f"NORMAL/IM-{number}-1.png")
        draw(f"PNEUMONIA/person{number}_1.png")
    cohort = task(patient_pattern=r"person(\d+)_|IM-(\d+)").cohort(0, 1)
    assert cohort.train.patient_count + cohort.test.patient_count == 40


def test_a_name_without_a_patient_is_refused(two_folders, draw, task):
    draw("NORMAL/scan3.png")
    with pytest.raises(
        DataError, match=r"NORMAL/scan3\.png.*patient_pattern='person\\\\d\+' finds no patient"
    ):
        task(patient_pattern=r"person\d+").cohort(0, 1)


def test_an_unreadable_image_is_named(two_folders, tmp_path, task):
    (tmp_path / "xrays/NORMAL/broken.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"NORMAL/broken\.png cannot be read"):
        task().cohort(0, 1)


def test_an_image_cut_short_is_named(two_folders, tmp_path, task):
    whole_image = (tmp_path / "xrays/NORMAL/person0_a.png").read_bytes()
    (tmp_path / "xrays/NORMAL/person0_a.png").write_bytes(whole_image[: len(whole_image) // 2])
    with pytest.raises(DataError, match=r"NORMAL/person0_a\.png cannot be read"):
        task().cohort(0, 1)


def test_sixteen_bits_are_refused_rather_than_turned_white(two_folders, tmp_path, task):
    Image.fromarray(np.full((20, 20), 3000, np.uint16)).save(tmp_path / "xrays/NORMAL/deep.png")
    with pytest.raises(DataError, match=r"NORMAL/deep\.png has more than 8 bits"):
        task().cohort(0, 1)


def test_a_subfolder_that_is_no_class_is_named(two_folders, draw, task):
    draw("COVID/a.png")
    with pytest.raises(DataError, match=r"COVID/a\.png has label 'COVID'.*\['normal', 'pneumonia'\]"):
        task().cohort(0, 1)


def test_a_folder_that_is_not_there_is_named(task):
    with pytest.raises(DataError, match=r"xrays does not exist; set site\.data\.folder"):
        task().cohort(0, 1)


def test_a_folder_without_images_is_named(tmp_path, task):
    (tmp_path / "xrays").mkdir()
    with pytest.raises(DataError, match=r"xrays holds no image"):
        task().cohort(0, 1)


def test_a_file_that_is_no_zip_is_named(tmp_path, task):
    (tmp_path / "xrays").write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"xrays is neither a folder nor a whole zip"):
        task().cohort(0, 1)


def test_a_hospital_that_is_not_there_is_refused(two_folders, task):
    with pytest.raises(DataError, match=r"hospital 3 of 3 does not exist"):
        task().cohort(3, 3)


def test_a_share_is_of_train_and_test_patients_alike(two_folders, task):
    cohorts = [task(partition="quantity", alpha=1.0, seed=2).cohort(part, 3) for part in range(3)]
    learnt = np.array([len(cohort.train) for cohort in cohorts])
    tested = np.array([len(cohort.test) for cohort in cohorts])
    assert np.argsort(learnt).tolist() == np.argsort(tested).tolist()


def test_real_x_rays_are_told_apart_by_patient(shared, tmp_path, task):
    source = shared("kermany_cxr/kermany_train5216_128px.zip") / "kermany_cxr/kermany_train5216_128px.zip"
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(tmp_path / "some.zip", "w") as some:
        for name in sorted(archive.namelist())[::10]:
            some.writestr(name, archive.read(name))
    options = {"images": "some.zip", "size": 32, "patient_pattern": r"person(\d+)_|IM-(\d+)"}
    cohorts = [task(partition="dirichlet", alpha=1.0, **options).cohort(part, 4) for part in range(4)]
    halves = [half for cohort in cohorts for half in (cohort.train, cohort.test)]
    assert sum(len(half) for half in halves) == 522
    # Nobody was counted at two places: a patient who is would make this sum larger than one hospital's.
    alone = task(**options).cohort(0, 1)
    people = alone.train.patient_count + alone.test.patient_count
    assert sum(half.patient_count for half in halves) == people < 522


def people(cohorts):
    """Who is on each image, by the image's bytes."""
    return {
        image.tobytes(): half.identities[patient]
        for cohort in cohorts
        for half in (cohort.train, cohort.test)
        for image, patient in zip(half.images, half.patients, strict=True)
    }


@pytest.fixture
def forty_one_brightnesses(draw):
    """Twenty patients, two images each, and one image of nobody else's brightness each."""
    for number in range(40):
        draw(f"{('NORMAL', 'PNEUMONIA')[number // 2 % 2]}/person{number // 2}_{number % 2}.png", 3 * number)


@pytest.mark.parametrize("partition", ["even", "quantity", "dirichlet"])
@pytest.mark.parametrize("parts", [1, 3])
def test_an_image_shows_the_same_patient_however_they_are_dealt(
    forty_one_brightnesses, task, partition, parts
):
    pattern = r"person(\d+)"
    dealt = task(patient_pattern=pattern, partition=partition, alpha=1.0, seed=parts)
    found = people([dealt.cohort(part, parts) for part in range(parts)])
    assert found == people([task(patient_pattern=pattern).cohort(part, 2) for part in range(2)])
    assert sorted(found.values()) == sorted(2 * [f"1:{number}" for number in range(20)])
