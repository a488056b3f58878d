"""Rows of letters are found in images of several kinds; images without are let through."""

import numpy as np
import pytest
from pydicom.data import get_testdata_file
from pydicom.pixels.utils import iter_pixels
from scipy.ndimage import gaussian_filter

from client_app.data.deidentify.quiet import quiet
from client_app.data.deidentify.text_detector import looks_like_text

SIZE = 256


def body(rng):
    rows, columns = np.mgrid[:SIZE, :SIZE] / SIZE - 0.5
    image = np.full((SIZE, SIZE), -1000.0)
    image[(columns / 0.42) ** 2 + (rows / 0.32) ** 2 < 1] = 40
    image[(columns / 0.1) ** 2 + ((rows - 0.15) / 0.1) ** 2 < 1] = 700
    return image + rng.normal(0, 20, image.shape)


def resonance(rng):
    rows, columns = np.mgrid[:SIZE, :SIZE] / SIZE - 0.5
    return np.abs(300 * np.exp(-6 * (rows**2 + columns**2)) + rng.normal(0, 30, (SIZE, SIZE)))


def speckle(rng):
    return rng.rayleigh(40, (SIZE, SIZE))


def radiograph(rng):
    return gaussian_filter(rng.normal(0, 1, (SIZE, SIZE)), 12) * 4000 + 2000 + rng.normal(0, 10, (SIZE, SIZE))


KINDS = (body, resonance, speckle, radiograph)
NAMES = ("ZIMMERQUIST", "Hedwiga Wiegold", "*17.04.1932", "4711-0815")


def lung(rng):
    """Vessels in air, all about as bright, of many sizes."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    image = np.full((SIZE, SIZE), -860.0)
    image[:, :40] = image[:, -40:] = 60
    image[:8, :30] = 900
    places, sizes = rng.integers(0, SIZE, (150, 2)), rng.gamma(2, 1.6, (150, 2)) + 1
    for (row, column), (high, wide) in zip(places, sizes, strict=True):
        image[((rows - row) / high) ** 2 + ((columns - column) / wide) ** 2 < 1] = rng.uniform(0, 80)
    return gaussian_filter(image, 1) + gaussian_filter(rng.normal(0, 60, image.shape), 0.8)


@pytest.mark.parametrize("kind", [*KINDS, lung])
def test_images_without_text_are_let_through(kind):
    found = [looks_like_text(kind(np.random.default_rng(seed))) for seed in range(20)]
    assert not any(found)


@pytest.mark.attack("a name burned into an image", held_by="a detector of rows of letters")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", NAMES)
@pytest.mark.parametrize("size", [14, 20, 28])
def test_a_name_in_white_is_found(kind, text, size, drawn):
    assert looks_like_text(drawn(text, kind(np.random.default_rng(0)), size=size))


@pytest.mark.mutant("a name burned into an image", how="a detector that looks for longer rows than names are")
def test_a_detector_that_wants_more_letters_is_noticed(drawn, monkeypatch):
    monkeypatch.setattr("client_app.data.deidentify.text_detector._LETTERS", 40)
    assert not looks_like_text(drawn("ZIMMERQUIST", body(np.random.default_rng(0))))


def test_a_name_in_black_on_white_is_found(drawn):
    assert looks_like_text(-drawn("ZIMMERQUIST", body(np.random.default_rng(0))))


@pytest.mark.parametrize("level", [0.5, 0.7])
def test_a_wary_look_finds_grey_names_where_names_are_likely(level, drawn):
    dark = np.random.default_rng(0).rayleigh(4, (SIZE, SIZE))
    dark[100:150, 100:150] = 255
    image = drawn("ZIMMERQUIST", dark, level=level)
    assert looks_like_text(image, wary=True)


@pytest.mark.parametrize("name", ["examples_palette.dcm", "examples_rgb_color.dcm", "examples_jpeg2k.dcm"])
def test_a_wary_look_finds_what_ultrasound_machines_write(name):
    with quiet("unreadable", "the file"):
        frame = next(iter_pixels(get_testdata_file(name), raw=True))
    assert looks_like_text(frame, wary=True)


def test_a_name_in_one_colour_is_found(drawn):
    image = np.stack(
        [drawn("ZIMMERQUIST", speckle(np.random.default_rng(0))), *np.zeros((2, SIZE, SIZE))], -1
    )
    assert looks_like_text(image)


@pytest.mark.parametrize(
    "image", [np.zeros((64, 64)), np.zeros((3, 3)), np.eye(64), np.zeros((64, 64)) * np.nan]
)
def test_images_of_nothing_are_no_text(image):
    assert not looks_like_text(image)


def test_what_it_says_that_it_does_not_find_it_does_not_find(drawn):
    """So that nobody takes it for more than it is."""
    image = body(np.random.default_rng(0))
    assert not looks_like_text(drawn("ZIMMERQUIST", image).T.copy())
    assert not looks_like_text(drawn("Li", image))
