import numpy as np
import pytest

from client_app.data.store.writer import StoreWriter
from federation.errors import ConfigError, DataError
from federation.tasks import load_task
from tasks.ct_lesion import create
from tasks.ct_lesion import task as module
from tasks.nodule_ct.cohort import NoduleTask
from tasks.nodule_ct.label import Label
from tasks.split import in_train

LABELS = ("benign", "malignant")


def task(folder, **options):
    return load_task("tasks.ct_lesion", options, folder)


def rows(count, first=0):
    return [
        (number, {"label": LABELS[number % 2], "diameter_mm": 4.5 + number}) for number in range(first, count)
    ]


def everybody(cohort):
    return sorted([*cohort.train.identities, *cohort.test.identities])


def test_patients_of_the_store_are_split_by_their_pseudonym(tmp_path, fill):
    fill(tmp_path / "store", rows(40))
    cohort = task(tmp_path / "store").cohort(0, 1)
    assert everybody(cohort) == [f"{number:016x}" for number in range(40)]
    assert all(in_train(patient) for patient in cohort.train.identities)
    assert not any(in_train(patient) for patient in cohort.test.identities)
    assert cohort.train.images.shape == (len(cohort.train), 1, 64, 64)
    assert cohort.train.images.dtype == np.float32
    for half in (cohort.train, cohort.test):
        assert [int(half.identities[who], 16) % 2 for who in half.patients] == half.targets.tolist()


def test_all_series_of_a_patient_are_one_patients(tmp_path, fill):
    fill(
        tmp_path / "store", [(7, {"label": "benign"}), (7, {"label": "malignant"}), (9, {"label": "benign"})]
    )
    cohort = task(tmp_path / "store").cohort(0, 1)
    assert len(cohort.train) + len(cohort.test) == 3
    assert cohort.train.patient_count + cohort.test.patient_count == 2


def test_who_has_no_such_label_modality_or_covariate_takes_no_part(tmp_path, fill):
    store = tmp_path / "store"
    fill(store, [(1, {"label": "benign", "age": 3}), (2, {"label": "unknown", "age": 3}), (3, {"age": 3})])
    fill(store, [(4, {"label": "benign", "age": 3})], modality="MR", first=10)
    fill(store, [(5, {"label": "malignant"}), (6, {"label": "benign", "age": "old"})], first=20)
    assert everybody(task(store).cohort(0, 1)) == [f"{number:016x}" for number in (1, 5, 6)]
    cohort = task(store, covariates="age").cohort(0, 1)
    assert everybody(cohort) == [f"{1:016x}"]
    assert [*cohort.train.covariates["age"], *cohort.test.covariates["age"]] == [3.0]


def test_classes_may_be_numbers(tmp_path, fill):
    fill(tmp_path / "store", [(number, {"grade": 1 + number % 3}) for number in range(9)])
    cohort = task(tmp_path / "store", label="grade", classes="1,2,3").cohort(0, 1)
    assert sorted([*cohort.train.targets, *cohort.test.targets]) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_stores_below_a_folder_are_hospitals_in_a_simulation(tmp_path, fill):
    fill(tmp_path / "alder", rows(10))
    fill(tmp_path / "birch", rows(20, first=10), first=10)
    both = task(tmp_path)
    assert len(everybody(both.cohort(0, 2))) == len(everybody(both.cohort(1, 2))) == 10
    assert both.cohort(1, 2).description == "CT from the store in birch"
    for part, parts, message in ((0, 3, "2 stores"), (2, 2, "2 stores")):
        with pytest.raises(DataError, match=message):
            both.cohort(part, parts)
    with pytest.raises(DataError, match="store of one hospital"):
        task(tmp_path / "alder").cohort(0, 2)


def test_a_store_without_anybody_is_said_with_what_was_asked_for(tmp_path, fill):
    fill(tmp_path / "store", rows(3))
    with pytest.raises(DataError, match=r"none of the 3 series .* is CT with stage one of \['benign'"):
        task(tmp_path / "store", label="stage").cohort(0, 1)
    with pytest.raises(DataError, match="0 stores"):
        task(tmp_path / "nowhere").cohort(0, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lable": "x"}, "did you mean 'label'"),
        ({"plane": "oblique"}, "task.options.plane='oblique'"),
        ({"spacing": 0}, "task.options.spacing=0"),
        ({"low": 400.0}, "must be less than"),
        ({"classes": "benign"}, "two different classes"),
        ({"classes": "benign,"}, "two different classes"),
        ({"modality": "ct"}, "task.options.modality='ct'"),
    ],
)
def test_a_wrong_option_is_named(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        create(options, tmp_path)


def test_what_was_prepared_is_prepared_once(tmp_path, fill, cache, monkeypatch):
    fill(tmp_path / "store", rows(5))
    first = task(tmp_path / "store").cohort(0, 1)
    assert len(cache()) == 1
    monkeypatch.setattr("tasks.ct_lesion.task.prepare", None)
    again = create({}, tmp_path / "store").cohort(0, 1)
    assert np.array_equal(first.train.images, again.train.images)


def test_another_setting_is_prepared_anew(tmp_path, fill, cache):
    fill(tmp_path / "store", rows(5))
    task(tmp_path / "store").cohort(0, 1)
    assert task(tmp_path / "store", size=32).cohort(0, 1).train.images.shape[2:] == (32, 32)
    assert len(cache()) == 2


LEFT = "who withdrew is learnt from out of a cache"


@pytest.mark.attack(LEFT, held_by="the cache is of one version of the store, and older ones go")
def test_who_withdrew_is_in_no_cohort_and_in_no_cache(tmp_path, fill, cache):
    store = tmp_path / "store"
    fill(store, rows(5))
    for size in (64, 32):
        task(store, size=size).cohort(0, 1)
    before = cache()
    with StoreWriter(store) as writer:
        writer.withdraw(f"{3:016x}", "opt-out")
    assert f"{3:016x}" not in everybody(task(store).cohort(0, 1))
    assert len(cache()) == 1
    assert not set(cache()) & set(before)


def all_withdraw(store):
    """Of a store of five whose slices were prepared."""
    task(store).cohort(0, 1)
    with StoreWriter(store) as writer:
        for number in range(5):
            writer.withdraw(f"{number:016x}", "opt-out")


@pytest.mark.attack(LEFT, held_by="the cache is of one version of the store, and older ones go")
def test_where_all_withdrew_nothing_is_in_the_cache(tmp_path, fill, cache):
    fill(tmp_path / "store", rows(5))
    all_withdraw(tmp_path / "store")
    with pytest.raises(DataError, match="none of the 0 series"):
        task(tmp_path / "store").cohort(0, 1)
    assert not cache()


@pytest.mark.mutant(LEFT, how="older versions go once there is somebody to prepare")
def test_a_cache_that_is_looked_at_later_keeps_the_last_ones(tmp_path, fill, cache, monkeypatch):
    fill(tmp_path / "store", rows(5))
    all_withdraw(tmp_path / "store")
    monkeypatch.setattr(module, "_forget_others", lambda _: None)
    with pytest.raises(DataError, match="none of the 0 series"):
        task(tmp_path / "store").cohort(0, 1)
    assert len(cache()) == 1


@pytest.mark.mutant(LEFT, how="the cache is of the folder, whatever is in it")
def test_a_cache_of_the_folder_keeps_who_withdrew(tmp_path, fill, cache, monkeypatch):
    store = tmp_path / "store"
    fill(store, rows(5))
    monkeypatch.setattr("federation.site_store.version_of", lambda series: "0" * 64)
    task(store).cohort(0, 1)
    before = cache()
    with StoreWriter(store) as writer:
        writer.withdraw(f"{3:016x}", "opt-out")
    with pytest.raises(DataError, match="images, targets, patients must agree"):
        task(store).cohort(0, 1)
    assert cache() == before


READ = "another user of the machine reads patients' slices in the cache"


def open_to_others(folder):
    """Whether somebody else may enter the folder of what was cached."""
    return bool((folder / "cache" / "ct_lesion").stat().st_mode & 0o077)


@pytest.mark.attack(READ, held_by="the cache's folder is its owner's alone")
def test_what_was_prepared_is_for_nobody_elses_eyes(tmp_path, fill, cache):
    fill(tmp_path / "store", rows(5))
    task(tmp_path / "store").cohort(0, 1)
    assert cache()
    assert not open_to_others(tmp_path)


@pytest.mark.mutant(READ, how="the cache makes its folder as any other")
def test_in_a_folder_as_any_other_everybody_reads_it(tmp_path, fill, monkeypatch):
    monkeypatch.setattr("tasks.ct_lesion.task.make_folder", lambda folder, mode: None)
    fill(tmp_path / "store", rows(5))
    task(tmp_path / "store").cohort(0, 1)
    assert open_to_others(tmp_path)


def test_phantoms_are_those_of_nodule_ct_where_they_look_alike(tmp_path):
    ours, theirs = task(tmp_path).public_examples(8, 0), NoduleTask(Label.MALIGNANCY).public_examples(8, 0)
    assert np.array_equal(ours.images, theirs.images)
    for options in (
        {"size": 32},
        {"spacing": 1.0},
        {"high": 300.0},
        {"modality": "MR"},
        {"classes": "a,b,c"},
    ):
        with pytest.raises(DataError, match="pretraining"):
            task(tmp_path, **options).public_examples(8, 0)


def test_an_image_is_prepared_as_a_cohorts_is(tmp_path):
    values = np.random.default_rng(0).integers(-1200, 600, (64, 64))
    np.save(tmp_path / "a.npy", values)
    (tmp_path / "b.npy").write_bytes(b"no array")
    np.save(tmp_path / "c.npy", values[:32])
    (tmp_path / "d.png").write_bytes(b"")
    image = task(tmp_path).read_image(tmp_path / "a.npy")
    assert (image.shape, image.dtype, image.min(), image.max()) == ((1, 64, 64), np.float32, -1, 1)
    for name in ("b.npy", "c.npy", "d.png"):
        with pytest.raises(DataError, match=f"{name} .*64 x 64 numbers"):
            task(tmp_path).read_image(tmp_path / name)
