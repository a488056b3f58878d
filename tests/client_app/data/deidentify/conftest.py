"""Files to de-identify, and a key that anybody can have."""

import io

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.config import disable_value_validation

from benchmarks.planted_files import planted_ct
from client_app.data.deidentify.profile import deidentify, written
from client_app.data.keys import Pseudonyms


@pytest.fixture
def pseudonyms():
    return Pseudonyms(bytes(range(32)))


@pytest.fixture
def ct():
    """``ct(PatientID="1", ...)``: a chest CT as it was read, with what the test says of it."""

    def make(*, number=0, **attributes):
        dataset = dcmread(io.BytesIO(planted_ct(number)[0]))
        with disable_value_validation():
            for keyword, value in attributes.items():
                if value is None:
                    del dataset[keyword]
                else:
                    setattr(dataset, keyword, value)
        return dataset

    return make


@pytest.fixture
def through(pseudonyms):
    """``through(dataset)``: it de-identified, as somebody else reads it from a disk."""

    def do(dataset, *options):
        return dcmread(io.BytesIO(written(deidentify(dataset, pseudonyms, *options))))

    return do


@pytest.fixture
def drawn():
    """``drawn("TEXT", on=image)``: an image with a text burned in."""
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415

    def draw(text, on, size=16, level=1.0):
        canvas = Image.new("L", on.shape[::-1])
        ImageDraw.Draw(canvas).text((20, 20), text, fill=255, font=ImageFont.load_default(size))
        share = np.asarray(canvas) / 255
        low, high = on.min(), on.min() + level * (np.percentile(on, 99.9) - on.min())
        return on * (1 - share) + share * max(high, low)

    return draw
