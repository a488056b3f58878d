import numpy as np
import pytest

from tasks.ct_lesion.prepare import oriented, prepare, window
from tasks.ct_lesion.settings import Settings
from tests.tasks.ct_lesion.conftest import AXIAL

LEFT, POSTERIOR, SUPERIOR = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


def opposite(direction):
    return tuple(-x for x in direction)


def test_the_middle_slice_is_windowed_and_otherwise_as_it_is():
    values = np.random.default_rng(0).integers(-2000, 1000, (5, 64, 64)).astype(np.int16)
    prepared = prepare(values, (2.0, 0.75, 0.75), AXIAL, Settings())
    assert (prepared.shape, prepared.dtype) == ((1, 64, 64), np.float32)
    expected = (np.clip(values[2], -1000, 400).astype(np.float32) + 300) / np.float32(700)
    assert np.array_equal(prepared[0], expected)


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize(
    "stored",
    [
        AXIAL,
        (opposite(SUPERIOR), POSTERIOR, LEFT),
        (SUPERIOR, opposite(POSTERIOR), opposite(LEFT)),
        (opposite(LEFT), opposite(SUPERIOR), POSTERIOR),
        (POSTERIOR, LEFT, opposite(SUPERIOR)),
    ],
)
def test_however_it_was_stored_one_body_gives_one_picture(plane, stored):
    body = (
        np.random.default_rng(1).integers(-900, 300, (6, 6, 6)).astype(np.int16)
    )  # [left, posterior, superior]
    spacing = {0: 1.0, 1: 2.0, 2: 3.0}
    axes = [int(np.argmax(np.abs(direction))) for direction in stored]
    flips = tuple(place for place, direction in enumerate(stored) if sum(direction) < 0)
    values = np.flip(body.transpose(axes), flips)
    turned, distances = oriented(values, tuple(spacing[axis] for axis in axes), stored, plane)
    expected = {
        "axial": (body.transpose(2, 1, 0), (3.0, 2.0, 1.0)),
        "coronal": (np.flip(body.transpose(1, 2, 0), 1), (2.0, 3.0, 1.0)),
        "sagittal": (np.flip(body.transpose(0, 2, 1), 1), (1.0, 3.0, 2.0)),
    }[plane]
    assert np.array_equal(turned, expected[0])
    assert distances == expected[1]


def test_oblique_slices_go_to_the_nearest_direction():
    tilt = np.radians(20)
    down, out = (
        (0.0, float(np.cos(tilt)), float(np.sin(tilt))),
        (0.0, -float(np.sin(tilt)), float(np.cos(tilt))),
    )
    values = np.random.default_rng(0).integers(0, 9, (3, 4, 5))
    turned, distances = oriented(values, (3, 2, 1), (out, down, LEFT), "axial")
    assert np.array_equal(turned, values)
    assert distances == (3, 2, 1)


def test_a_ramp_stays_a_ramp_in_another_spacing():
    ramp = np.tile(np.arange(200, dtype=np.int16), (1, 200, 1))
    prepared = prepare(ramp, (1.0, 0.5, 0.5), AXIAL, Settings(spacing=1.0, size=64, low=0, high=200))
    steps = np.diff(prepared[0], axis=1)
    assert np.allclose(steps, 2 / 200 * 2, atol=1e-5)
    assert np.allclose(prepared[0].mean(), 0, atol=0.02)


def test_a_small_picture_is_filled_with_the_lower_end_and_a_large_one_cut_in_its_middle():
    small = prepare(np.full((1, 20, 30), 400, np.int16), (1, 0.75, 0.75), AXIAL, Settings())
    assert (small[0] == 1).sum() == 20 * 30
    assert small[0, 0, 0] == -1
    large = np.zeros((1, 100, 100), np.int16)
    large[0, 18:82, 18:82] = 400
    assert (prepare(large, (1, 0.75, 0.75), AXIAL, Settings()) == 1).all()


def test_values_that_are_no_integers_are_prepared_alike():
    values = np.full((3, 64, 64), -300.0, np.float32)
    assert (prepare(values, (1, 0.75, 0.75), AXIAL, Settings()) == 0).all()
    assert window(np.array([-2000, -1000, 400, 900]), Settings()).tolist() == [-1, -1, 1, 1]
