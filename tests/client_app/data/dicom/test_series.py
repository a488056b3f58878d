import numpy as np
import pytest
from pydicom import Dataset
from pydicom.config import disable_value_validation
from pydicom.uid import EnhancedCTImageStorage

from client_app.data.dicom import series as module
from client_app.data.dicom.series import volume
from client_app.data.refusal import Refused
from tests.client_app.data.dicom.conftest import SERIES, ct_slice

NUMBER = "a patient's number in the place of a voltage, which the store would keep"
SHIFTED = "slices of a wrong order, or with some missing, are learnt from as if they were whole"


def heights(found):
    """The number that each slice of `ct_slice` is filled with."""
    return (found.values[:, 0, 0] + 1024).tolist()


@pytest.mark.attack(SHIFTED, held_by="slices are sorted by where they lie, and gaps refused")
def test_slices_are_sorted_by_where_they_lie_and_not_by_number_name_or_order():
    numbers = [3, 0, 4, 1, 2]
    slices = [ct_slice(number, InstanceNumber=5 - number) for number in numbers]
    found = volume(slices)
    assert heights(found) == [0, 1, 2, 3, 4]
    assert (found.values.dtype, found.shape, found.spacing) == (np.int16, (5, 16, 16), (1.25, 0.75, 0.75))
    assert found.directions == ((0, 0, 1), (0, 1, 0), (1, 0, 0))
    assert found.modality == "CT"
    assert found.facts["slice_thickness"] == 1.25


@pytest.mark.mutant(SHIFTED, how="slices are sorted by their number")
def test_sorted_by_number_they_are_shuffled(monkeypatch):
    monkeypatch.setattr("client_app.data.dicom.series._sorted", lambda slices: slices)
    monkeypatch.setattr("client_app.data.dicom.series._regular", lambda places: None)
    assert heights(volume([ct_slice(place) for place in (0, 3, 1, 2, 4)])) == [0, 3, 1, 2, 4]


@pytest.mark.attack(SHIFTED, held_by="slices are sorted by where they lie, and gaps refused")
def test_a_missing_slice_is_a_gap(refused):
    assert refused(volume, [ct_slice(n) for n in (0, 1, 2, 4)]) == "gap"


@pytest.mark.mutant(SHIFTED, how="gaps are not looked for")
def test_without_looking_a_gap_is_closed(monkeypatch):
    monkeypatch.setattr("client_app.data.dicom.series._regular", lambda places: None)
    assert heights(volume([ct_slice(n) for n in (0, 1, 2, 4)])) == [0, 1, 2, 4]


def tilted(number, degrees):
    """A slice of a tilted gantry: the table moves along z, the normal leans."""
    angle = np.radians(degrees)
    down = [0, float(np.cos(angle)), float(np.sin(angle))]
    return ct_slice(number, ImageOrientationPatient=[1, 0, 0, *down])


@pytest.mark.parametrize(
    ("rule", "slices"),
    [
        ("no-instances", []),
        ("mixed-series", [ct_slice(0), ct_slice(1, SeriesInstanceUID=f"{SERIES}.9")]),
        ("mixed-modality", [ct_slice(0), ct_slice(1, Modality="MR")]),
        ("mixed-modality", [ct_slice(0), ct_slice(1, Modality=None)]),
        ("localizer", [ct_slice(0), ct_slice(1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])]),
        ("mixed-shape", [ct_slice(0), ct_slice(1, np.zeros((16, 15), np.int16))]),
        ("mixed-spacing", [ct_slice(0), ct_slice(1, PixelSpacing=[0.75, 0.7])]),
        ("mixed-orientation", [ct_slice(0), ct_slice(1, ImageOrientationPatient=[0, 1, 0, 0, 0, 1])]),
        ("mixed-orientation", [ct_slice(0), ct_slice(1, ImageOrientationPatient=[0, 1, 0, -1, 0, 0])]),
        ("bad-geometry", [ct_slice(0, ImageOrientationPatient=[1, 0, 0, 1, 0, 0])]),
        ("bad-geometry", [ct_slice(0, PixelSpacing=[0, 0.75])]),
        ("no-spacing", [ct_slice(0, PixelSpacing=None)]),
        ("no-spacing", [ct_slice(0, SliceThickness=None)]),
        ("no-geometry", [ct_slice(0), ct_slice(1, ImagePositionPatient=None)]),
        ("no-geometry", [ct_slice(0), ct_slice(1, ImageOrientationPatient=None)]),
        ("no-geometry", [ct_slice(0), ct_slice(1, ImagePositionPatient=[1, 2])]),
        ("uneven-slices", [ct_slice(0), ct_slice(1), ct_slice(2, ImagePositionPatient=[-6, -6, -97.3])]),
        ("tilted", [tilted(n, 20) for n in range(3)]),
        ("tilted", [ct_slice(n, ImagePositionPatient=[-6, n - 6, 1.25 * n]) for n in range(3)]),
        ("two-at-a-place", [ct_slice(0), ct_slice(1), ct_slice(2, ImagePositionPatient=[-6, -6, -98.75])]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_regular_block_is_refused_by_name(rule, slices, refused):
    assert refused(volume, slices) == rule


def test_a_series_of_one_place_counts_its_copies_once():
    copies = [ct_slice(0), ct_slice(1), ct_slice(1), ct_slice(1, SOPInstanceUID=f"{SERIES}.77")]
    assert heights(volume(copies)) == [0, 1]


SMUGGLED = "a second instance of the same UID replaces what was reviewed"


@pytest.mark.attack(SMUGGLED, held_by="instances of one UID must be equal")
def test_two_instances_of_one_uid_with_other_pixels_are_refused(refused):
    other = ct_slice(0, np.ones((16, 16), np.int16))
    assert refused(volume, [ct_slice(0), ct_slice(1), other]) == "duplicate-uid"
    assert refused(volume, [ct_slice(0), ct_slice(0, ImagePositionPatient=[-6, -6, 9])]) == "duplicate-uid"


@pytest.mark.mutant(SMUGGLED, how="the first instance of a UID is taken")
def test_taking_the_first_hides_the_second(monkeypatch):
    monkeypatch.setattr(
        "client_app.data.dicom.series._once",
        lambda instances: list({instance.SOPInstanceUID: instance for instance in instances}.values()),
    )
    assert heights(volume([ct_slice(0), ct_slice(1), ct_slice(0, np.full((16, 16), 9, np.int16))])) == [9, 1]


def test_slices_that_lean_with_the_table_are_no_tilt():
    angle = np.radians(20)
    down, normal = np.array([0, np.cos(angle), np.sin(angle)]), np.array([0, -np.sin(angle), np.cos(angle)])
    slices = [
        ct_slice(
            n,
            ImageOrientationPatient=[1, 0, 0, *down.tolist()],
            ImagePositionPatient=(n * 2 * normal).tolist(),
        )
        for n in range(4)
    ]
    found = volume(slices)
    assert found.spacing[0] == pytest.approx(2)
    assert np.allclose(found.directions[0], normal)


def test_a_sagittal_series_runs_to_the_left_of_the_patient():
    slices = [
        ct_slice(n, ImageOrientationPatient=[0, 1, 0, 0, 0, -1], ImagePositionPatient=[-3.0 * n, 0, 0])
        for n in range(3)
    ]
    found = volume(slices)
    assert found.directions == ((-1, 0, 0), (0, 0, -1), (0, 1, 0))
    assert heights(found) == [0, 1, 2]


def test_values_that_are_no_integers_make_the_volume_float32():
    found = volume([ct_slice(0), ct_slice(1, RescaleSlope=0.5)])
    assert found.values.dtype == np.float32
    assert found.values[1, 0, 0] == 0.5 - 1024


def enhanced(numbers, **changes):
    """The same slices in one enhanced multi-frame instance, in the order of ``numbers``."""
    values = np.stack([np.full((16, 16), number, np.int16) for number in numbers])
    dataset = ct_slice(0, values[0], SOPClassUID=EnhancedCTImageStorage, NumberOfFrames=len(numbers))
    for name in ("PixelSpacing", "SliceThickness", "ImagePositionPatient", "ImageOrientationPatient"):
        del dataset[name]
    for name in ("RescaleSlope", "RescaleIntercept", "RescaleType"):
        del dataset[name]
    dataset.PixelData = values.tobytes()
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.75, 0.75], 1.25
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    dataset.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for number in numbers:
        frame, position, rescale = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [-6, -6, 1.25 * number]
        # Each frame has its own intercept: stored numbers alone would not do.
        rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = 2, -1024 - number, "HU"
        frame.PlanePositionSequence, frame.PixelValueTransformationSequence = [position], [rescale]
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = frames
    for name, value in changes.items():
        setattr(dataset, name, value)
    return dataset


def test_an_enhanced_instance_is_the_volume_of_its_frames_each_rescaled_by_its_own():
    found = volume([enhanced([2, 0, 1])])
    assert heights(found) == [0, 1, 2]
    assert (found.spacing, found.values.dtype) == ((1.25, 0.75, 0.75), np.int16)


def test_frames_that_say_no_place_are_refused(refused):
    assert refused(volume, [enhanced([0, 1], PerFrameFunctionalGroupsSequence=[])]) in (
        "no-geometry",
        "no-rescale",
    )
    assert refused(volume, [enhanced([0, 1], SharedFunctionalGroupsSequence=[])]) == "no-spacing"


def x_ray(number=0, **changes):
    values = np.arange(256, dtype=np.uint16).reshape(16, 16) + number
    removed = dict.fromkeys(
        ("ImagePositionPatient", "ImageOrientationPatient", "RescaleType", "PixelSpacing")
    )
    return ct_slice(
        number,
        values,
        Modality="DX",
        ImagerPixelSpacing=[0.2, 0.2],
        RescaleIntercept=0,
        **{**removed, **changes},
    )


def test_a_projection_is_one_slice_with_the_detectors_spacing(refused):
    found = volume([x_ray()])
    assert (found.shape, found.spacing[1:], found.modality) == ((1, 16, 16), (0.2, 0.2), "DX")
    assert refused(volume, [x_ray(0), x_ray(1)]) == "two-at-a-place"


def test_a_fact_is_short_and_names_no_patient():
    facts = volume(
        [ct_slice(0, ConvolutionKernel=["Br60f", "3"], KVP=120, Manufacturer=["M" * 40] * 2)]
    ).facts
    assert facts == {"slice_thickness": 1.25, "kvp": 120.0, "kernel": "Br60f/3"}


def without_end(name):
    """A slice where a number is written that no float holds."""
    with disable_value_validation():
        return ct_slice(0, **{name: "1E999"})


def test_a_fact_is_a_number_that_a_manifest_can_hold():
    assert "kvp" not in volume([without_end("KVP")]).facts
    assert "slice_thickness" not in volume([without_end("SliceThickness"), ct_slice(1)]).facts


@pytest.mark.attack(NUMBER, held_by="a fact is a number that can be one")
@pytest.mark.parametrize("name", ["KVP", "MagneticFieldStrength"])
def test_a_number_that_can_be_no_fact_is_none(name):
    found = volume([ct_slice(0, **{name: 482135})]).facts
    assert found == volume([ct_slice(0)]).facts
    assert volume([ct_slice(0, **{name: [482135, 1]})]).facts == found


@pytest.mark.attack(NUMBER, held_by="a fact is a number that can be one")
def test_a_number_that_can_be_no_thickness_is_refused(refused):
    assert refused(volume, [ct_slice(0, SliceThickness=482135)]) == "bad-geometry"


@pytest.mark.mutant(NUMBER, how="whatever number stands there is a fact")
def test_a_patients_number_would_be_a_fact(monkeypatch):
    monkeypatch.setattr(module, "_TOO_LARGE", float("inf"))
    assert volume([ct_slice(0, KVP=482135)]).facts["kvp"] == 482135


STRANGE = {
    "mixed-modality": {"Modality": ["CT", "MR"]},
    "mixed-series": {"SeriesInstanceUID": [SERIES, "2.25.2"]},
    # Before they have the length one, the two are just at a right angle.
    "bad-geometry": {"ImageOrientationPatient": [0.99951, 0, 0, 0.0010004, 0.99951, 0]},
}


@pytest.mark.parametrize("rule", STRANGE)
def test_a_series_that_is_not_as_dicom_says_is_refused_and_nothing_else_is_raised(rule, refused):
    assert refused(volume, [ct_slice(0, **STRANGE[rule])]) == rule


def test_what_the_frames_refuse_the_series_refuses():
    with pytest.raises(Refused, match="BitsAllocated"):
        volume([ct_slice(0, BitsAllocated=64, BitsStored=64, HighBit=63)])
