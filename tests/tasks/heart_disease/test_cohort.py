import shutil
from pathlib import Path

import numpy as np
import pytest

from federation.errors import ConfigError, DataError
from federation.tasks import load_task
from tasks.heart_disease.task import HOSPITALS, HeartDiseaseTask

DATA = Path(__file__).parents[3] / "../shared/data"
REAL = DATA / "heart_disease_4sites"
needs_the_data = pytest.mark.skipif(not REAL.is_dir(), reason="heart_disease_4sites is not in ../shared/data")

ROW = "63,1,1,145,233,1,2,150,0,2.3,3,0,6,0"


@pytest.fixture
def folder(tmp_path):
    """A hospital of a few patients, with everything that UCI's files hold."""
    rows = [ROW, ROW.replace("233", "?").replace("2.3", "-1.1")] * 10 + [ROW[:-1] + "4"] * 10
    (tmp_path / "processed.cleveland.data").write_text("\n".join(rows) + "\n")
    return tmp_path


@needs_the_data
def test_the_four_hospitals_have_the_patients_of_the_data_card():
    task = load_task("tasks.heart_disease", {}, DATA)
    cohorts = [task.cohort(part, 4) for part in range(4)]
    assert [cohort.description for cohort in cohorts] == list(HOSPITALS)
    counts = [
        (len(c.train), int(c.train.targets.sum()), len(c.test), int(c.test.targets.sum())) for c in cohorts
    ]
    assert counts == [(214, 100, 89, 39), (225, 83, 69, 23), (97, 91, 26, 24), (151, 112, 49, 37)]
    both = [(train + test, sick + sick_test) for train, sick, test, sick_test in counts]
    assert both == [(303, 139), (294, 106), (123, 115), (200, 149)]


@needs_the_data
def test_rows_are_ready_for_a_network():
    cohort = load_task("tasks.heart_disease", {}, DATA).cohort(2, 4)
    for half in (cohort.train, cohort.test):
        assert half.images.dtype == np.float32
        assert half.images.shape == (len(half), 31)
        assert np.isfinite(half.images).all()
        assert half.patient_count == len(half)
        assert set(half.covariates) == {"age"}


@needs_the_data
def test_a_hospital_has_the_same_patients_in_a_smaller_federation():
    task = load_task("tasks.heart_disease", {}, DATA)
    assert np.array_equal(task.cohort(1, 2).train.images, task.cohort(1, 4).train.images)


def test_a_question_mark_is_a_missing_value(folder):
    cohort = HeartDiseaseTask(folder).cohort(0, 1)
    rows = np.concatenate([cohort.train.images, cohort.test.images])
    cholesterol_missing = rows[:, 11]
    assert cholesterol_missing.sum() == 10


def test_hospital_and_line_say_who_a_patient_is(folder):
    cohort = HeartDiseaseTask(folder).cohort(0, 1)
    identities = (*cohort.train.identities, *cohort.test.identities)
    assert sorted(identities) == sorted(f"cleveland-{line}" for line in range(30))
    sick = [
        half.identities[p] for half in (cohort.train, cohort.test) for p in half.patients[half.targets == 1]
    ]
    assert sorted(sick) == [f"cleveland-{line}" for line in range(20, 30)]


def test_any_degree_of_disease_is_diseased(folder):
    cohort = HeartDiseaseTask(folder).cohort(0, 1)
    assert len(cohort.train) + len(cohort.test) == 30
    assert cohort.train.targets.sum() + cohort.test.targets.sum() == 10


def test_a_wrong_folder_is_named_with_the_setting_that_mends_it(tmp_path):
    task = load_task("tasks.heart_disease", {}, tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"elsewhere.*processed\.cleveland\.data.*site\.data\.folder"):
        task.cohort(0, 4)


@pytest.mark.parametrize(("part", "parts"), [(0, 5), (4, 4), (-1, 4), (0, 0)])
def test_a_hospital_that_is_not_there_is_refused_with_the_ones_that_are(folder, part, parts):
    with pytest.raises(
        DataError, match=rf"hospital {part} of {parts}.*cleveland, hungarian, switzerland, va"
    ):
        HeartDiseaseTask(folder).cohort(part, parts)


@pytest.mark.parametrize("content", ["1,2,3\n", ROW + ",1\n", ROW[:-1] + "?\n", f"{ROW}\n1,2\n"])
def test_a_table_of_another_shape_is_named(folder, content):
    (folder / "processed.cleveland.data").write_text(content)
    with pytest.raises(DataError, match=r"processed\.cleveland\.data"):
        HeartDiseaseTask(folder).cohort(0, 1)


def test_an_empty_table_is_named(folder):
    (folder / "processed.cleveland.data").write_text("")
    with (
        pytest.warns(UserWarning, match="Empty input file"),
        pytest.raises(DataError, match=r"processed\.cleveland\.data"),
    ):
        HeartDiseaseTask(folder).cohort(0, 1)


def test_a_hospital_of_one_patient_has_an_empty_half(folder):
    (folder / "processed.cleveland.data").write_text(ROW + "\n")
    cohort = HeartDiseaseTask(folder).cohort(0, 1)
    assert sorted([len(cohort.train), len(cohort.test)]) == [0, 1]


def test_an_option_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"'label': 'age'.*heart_disease has no options"):
        load_task("tasks.heart_disease", {"label": "age"})


def test_no_patients_are_generated():
    with pytest.raises(DataError, match=r"generates no examples.*pretraining\.source=random"):
        load_task("tasks.heart_disease", {}).public_examples(5, 0)


@needs_the_data
def test_other_files_of_the_folder_do_not_matter(tmp_path):
    folder = tmp_path / "heart_disease_4sites"
    shutil.copytree(REAL, folder)
    folder.chmod(0o755)  # the original may be read-only
    (folder / "notes.txt").write_text("x")
    assert len(load_task("tasks.heart_disease", {}, tmp_path).cohort(0, 1).train) == 214
