"""A CSV beside the images."""

import numpy as np
import pytest

from federation.errors import DataError


@pytest.fixture
def listed_task(task):
    def load(**options):
        return task(labels="list.csv", **options)

    return load


@pytest.fixture
def six(draw):
    for number in range(6):
        draw(f"{number}.png", grey=10 * number)


def greys(half):
    return np.round(half.images.mean(axis=(1, 2, 3)) * 255).astype(int).tolist()


def test_patient_site_and_split_are_taken_from_the_list(six, write_list, listed_task):
    write_list(
        ("0.png", "normal", "ann", "north", "train"),
        ("1.png", "normal", "ann", "north", "train"),
        ("2.png", "Pneumonia", "bob", "north", "test"),
        ("3.png", "normal", "cy", "south", "train"),
        ("4.png", "PNEUMONIA", "dee", "south", "train"),
        ("5.png", "normal", "eve", "south", "test"),
    )
    north, south = (listed_task(partition="list").cohort(part, 2) for part in range(2))
    assert (greys(north.train), north.train.patients.tolist(), greys(north.test)) == ([0, 10], [0, 0], [20])
    assert (greys(south.train), south.train.targets.tolist(), greys(south.test)) == ([30, 40], [0, 1], [50])
    assert (north.train.identities, north.test.identities) == (("ann",), ("bob",))
    assert (south.train.identities, south.test.identities) == (("cy", "dee"), ("eve",))


def test_a_list_chooses_who_takes_part(six, write_list, listed_task):
    write_list(("2.png", "normal"), ("4.png", "pneumonia"), columns=("file", "label"))
    cohort = listed_task().cohort(0, 1)
    assert sorted(greys(cohort.train) + greys(cohort.test)) == [20, 40]


def test_a_list_from_a_spreadsheet_may_start_with_its_mark(six, tmp_path, listed_task):
    rows = "file,label,split\r\n2.png,normal,train\r\n3.png,normal,test\r\n"
    (tmp_path / "list.csv").write_text(rows, encoding="utf-8-sig")
    cohort = listed_task().cohort(0, 1)
    assert greys(cohort.train) + greys(cohort.test) == [20, 30]


def test_the_pattern_helps_where_the_list_names_no_patient(six, write_list, listed_task):
    rows = [(f"{number}.png", "normal", "ann" if number < 3 else "") for number in range(6)]
    write_list(*rows, columns=("file", "label", "patient"))
    cohort = listed_task(patient_pattern=r"\d").cohort(0, 1)
    assert cohort.train.patient_count + cohort.test.patient_count == 4


REFUSED = {
    "a patient on both sides": (
        [("0.png", "normal", "ann", "north", "train"), ("1.png", "normal", "ann", "north", "test")],
        r"1 patients are in train and in test, e\.g\. ann",
    ),
    "a patient at two sites": (
        [("0.png", "normal", "ann", "north", "train"), ("1.png", "normal", "ann", "south", "train")],
        r"patient ann is at two sites, north and south",
    ),
    "a patient without a site": (
        [("0.png", "normal", "ann", "", "train")],
        r"0\.png has no site in list\.csv",
    ),
    "a label that is no class": ([("0.png", "covid", "ann", "north", "train")], r"0\.png has label 'covid'"),
    "a split that is none": (
        [("0.png", "normal", "ann", "north", "Training")],
        r"0\.png has split 'Training', which is neither train nor test",
    ),
    "a file that is not there": (
        [("0.png", "normal", "ann", "north", "train"), ("9.png", "normal", "bob", "north", "train")],
        r"list\.csv names 1 files that .*xrays does not hold: \['9\.png'\]",
    ),
    "a file named twice": (
        [("0.png", "normal", "ann", "north", "train"), ("0.png", "pneumonia", "ann", "north", "train")],
        r"names 0\.png twice",
    ),
    "a row that stops early": ([("0.png",)], r"a row without file or label"),
}


@pytest.mark.parametrize(("rows", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(six, write_list, listed_task, rows, message):
    write_list(*rows)
    with pytest.raises(DataError, match=message):
        listed_task(partition="list").cohort(0, 1)


def test_a_patient_may_change_hospitals_where_nobody_asks_for_them(six, write_list, listed_task):
    write_list(
        ("0.png", "normal", "ann", "north", "train"),
        ("1.png", "normal", "ann", "south", "train"),
        ("2.png", "normal", "bob", "south", "test"),
    )
    assert listed_task().cohort(0, 1).train.patient_count == 1


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_list_with_nobody_on_the_other_side_is_refused(six, write_list, listed_task, split):
    write_list(("0.png", "normal", "ann", "north", split))
    with pytest.raises(DataError, match=r"the collection has no (train|test) patients; it needs both"):
        listed_task().cohort(0, 1)


def test_more_hospitals_than_the_list_names_are_refused(six, write_list, listed_task):
    write_list(("0.png", "normal", "ann", "north", "train"), ("1.png", "normal", "bob", "south", "train"))
    with pytest.raises(DataError, match=r"3 hospitals were asked for, but the list names 2"):
        listed_task(partition="list").cohort(0, 3)


def test_a_list_that_is_not_there_is_named(six, listed_task):
    with pytest.raises(DataError, match=r"list\.csv cannot be read as a CSV"):
        listed_task().cohort(0, 1)


@pytest.mark.parametrize("content", ["", "file,label\n", "name,label\n0.png,normal\n"])
def test_a_list_without_the_columns_is_refused(six, tmp_path, listed_task, content):
    (tmp_path / "list.csv").write_text(content)
    with pytest.raises(DataError, match=r"list\.csv needs the columns \['file', 'label'\]"):
        listed_task().cohort(0, 1)
