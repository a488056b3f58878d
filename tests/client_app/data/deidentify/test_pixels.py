"""Pixels stay what they were to a reader; whatever else lay in their bytes is gone, or they are refused."""

import io

import numpy as np
import pytest
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import MPEG4HP41, JPEG2000Lossless, JPEGLSLossless, RLELossless

from client_app.data.deidentify import pixels
from client_app.data.deidentify.codestreams import without_comments
from client_app.data.deidentify.pixels import _stored_bits
from client_app.data.deidentify.profile import deidentify
from client_app.data.dicom.decoder import Decoder
from client_app.data.refusal import Refused

SECRET = b"Ahrensfelder hat dies gesehen"


def image(ct, **attributes):
    """A CT as long as its pixels are, so that pydicom can compress it."""
    dataset = ct(**attributes)
    dataset.PixelData = (np.frombuffer(dataset.PixelData, "<u2")[: 256 * 256] & 0x0FFF).tobytes()
    return dataset


def compress(dataset, syntax):
    if syntax != JPEG2000Lossless:
        dataset.compress(syntax, generate_instance_uid=False)
        return
    from openjpeg.utils import encode_array  # noqa: PLC0415 - pydicom wants another library, under the GPL, beside it

    frame = encode_array(dataset.pixel_array, bits_stored=12, photometric_interpretation=2)
    dataset.PixelData = encapsulate([frame])
    dataset.file_meta.TransferSyntaxUID = syntax


def rule_of(dataset, pseudonyms):
    with pytest.raises(Refused) as refused:
        deidentify(dataset, pseudonyms)
    return refused.value.rule


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("stored", "low"), [(12, 0), (12, 4), (10, 3), (8, 0), (15, 0)])
def test_only_stored_bits_stay_and_the_sign_goes_on(signed, stored, low):
    every = np.arange(1 << 16, dtype=np.uint16)
    clean = _stored_bits(every, low, stored, signed=signed)
    inside = np.uint16(((1 << stored) - 1) << low)
    assert (clean & inside == every & inside).all()
    value = clean.view(np.int16) >> low if signed else clean >> low
    expected = (every >> low) & ((1 << stored) - 1)
    if signed:
        expected = np.where(expected >> (stored - 1), expected.astype(int) - (1 << stored), expected)
    assert (value == expected).all()
    assert (clean & np.uint16((1 << low) - 1) == 0).all()


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless])
def test_compressed_pixels_stay_as_they_are_shown(syntax, ct, through):
    dataset = image(ct)
    before = dataset.pixel_array.copy()
    compress(dataset, syntax)
    clean = through(dataset)
    assert clean.file_meta.TransferSyntaxUID == syntax
    assert (clean.pixel_array == before).all()


def _with_comment(frame):
    """A codestream with a comment behind its first marker."""
    if frame[:2] == b"\xff\xd8":
        return frame[:2] + b"\xff\xfe" + (len(SECRET) + 2).to_bytes(2) + SECRET + frame[2:]
    size = 2 + 2 + int.from_bytes(frame[4:6])
    comment = b"\xff\x64" + (len(SECRET) + 4).to_bytes(2) + b"\0\1" + SECRET
    return frame[:size] + comment + frame[size:]


@pytest.mark.attack("a name in a comment of a codestream", held_by="comments are blanked")
@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_comments_and_what_lies_behind_an_image_are_gone(syntax, ct, through):
    dataset = image(ct)
    before = dataset.pixel_array.copy()
    compress(dataset, syntax)
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = encapsulate([_with_comment(frame.rstrip(b"\0")) + SECRET])
    assert dataset.PixelData.count(SECRET) == 2
    clean = through(dataset)
    assert SECRET not in clean.PixelData
    assert (clean.pixel_array == before).all()


@pytest.mark.mutant("a name in a comment of a codestream", how="codestreams are taken over")
def test_codestreams_as_they_were_are_noticed(ct, through, monkeypatch):
    monkeypatch.setattr("client_app.data.deidentify.pixels.without_comments", lambda frame: frame)
    dataset = image(ct)
    dataset.compress(JPEGLSLossless, generate_instance_uid=False)
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = encapsulate([_with_comment(frame.rstrip(b"\0"))])
    assert SECRET in through(dataset).PixelData


def test_exif_and_thumbnails_are_blanked_and_colours_are_not():
    from PIL import Image  # noqa: PLC0415

    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (200, 10, 30)).save(buffer, "JPEG", comment=SECRET, exif=b"Exif\0\0" + SECRET)
    clean = without_comments(buffer.getvalue())
    assert SECRET in buffer.getvalue()
    assert SECRET not in clean
    same = [np.asarray(Image.open(io.BytesIO(each))) for each in (buffer.getvalue(), clean)]
    assert (same[0] == same[1]).all()


@pytest.mark.parametrize("frame", [b"", b"\xff\xd8", b"\xff\xd8\xff\xe0\xff", b"\xff\x4f\xff\x51", b"PNG"])
def test_what_is_no_codestream_is_refused(frame):
    with pytest.raises(Refused) as refused:
        without_comments(frame)
    assert refused.value.rule == "codestream"


def test_a_text_in_the_pixels_is_refused(ct, pseudonyms, drawn):
    dataset = image(ct)
    shown = drawn("ZIMMERQUIST", dataset.pixel_array.astype(float))
    dataset.PixelData = shown.astype(np.uint16).tobytes()
    assert rule_of(dataset, pseudonyms) == "burned-in-text"


def test_a_text_in_the_last_of_many_frames_is_refused(ct, pseudonyms, drawn):
    dataset = image(ct, NumberOfFrames=3)
    shown = drawn("ZIMMERQUIST", np.frombuffer(dataset.PixelData, "<u2").reshape(256, 256).astype(float))
    dataset.PixelData = 2 * dataset.PixelData + shown.astype(np.uint16).tobytes()
    assert rule_of(dataset, pseudonyms) == "burned-in-text"


def test_compressed_pixels_that_use_unused_bits_are_refused(ct, pseudonyms):
    dataset = image(ct)
    dataset.BitsStored, dataset.HighBit = 16, 15
    dataset.PixelData = (np.frombuffer(dataset.PixelData, "<u2") | 0x1000).astype("<u2").tobytes()
    dataset.compress(RLELossless, generate_instance_uid=False)
    dataset.BitsStored, dataset.HighBit = 12, 11
    assert rule_of(dataset, pseudonyms) == "unused-bits"


def test_a_frame_that_grows_costs_its_decoder_and_not_the_ingest(ct, pseudonyms, monkeypatch):
    dataset = image(ct)
    dataset.compress(RLELossless, generate_instance_uid=False)
    with Decoder(memory=1 << 16) as small:
        monkeypatch.setattr(pixels, "shared_decoder", lambda: small)
        assert rule_of(dataset, pseudonyms) in ("decoder-died", "not-decodable")


@pytest.mark.parametrize(
    ("attributes", "rule"),
    [
        *(({"PixelData": None}, "no-pixels"), ({"Rows": 9999}, "truncated")),
        *(({"Rows": 65535, "Columns": 65535}, "too-large"),),
        *(({"Rows": None}, "pixels-unreadable"), ({"BitsAllocated": 12}, "pixels-unreadable")),
        *(({"NumberOfFrames": "9"}, "truncated"), ({"BitsAllocated": 0}, "pixels-unreadable")),
    ],
)
def test_pixels_that_are_not_what_they_say_are_refused_by_name(attributes, rule, ct, pseudonyms):
    assert rule_of(ct(**attributes), pseudonyms) == rule


def test_a_film_is_refused(ct, pseudonyms):
    dataset = image(ct)
    dataset.file_meta.TransferSyntaxUID = MPEG4HP41
    dataset.PixelData = encapsulate([b"film"])
    assert rule_of(dataset, pseudonyms) == "transfer-syntax"
