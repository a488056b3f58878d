import shutil
import subprocess

import numpy as np
import pydicom
import pytest
from pydicom.uid import JPEG2000, ExplicitVRBigEndian, JPEGLosslessSV1, JPEGLSLossless, RLELossless

from client_app.data.dicom.door import read_instance
from client_app.data.dicom.pixels import frames
from tests.client_app.data.dicom.conftest import SAMPLES, as_bytes, ct_slice

# What pydicom's own tests say of its files, and what its handlers decode from the uncompressed original.
ORIGINAL = "MR_small.dcm"
SAME = [
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_expb.dcm",
    "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "MR_small_padded.dcm",
]


NEEDS_DCMTK = pytest.mark.skipif(not shutil.which("dcmcjpls"), reason="dcmtk is not installed")


def read(name):
    return frames(read_instance(SAMPLES / name))


@pytest.mark.parametrize("name", SAME)
def test_one_image_in_each_lossless_syntax_is_the_same_numbers(name):
    assert np.array_equal(read(name), read(ORIGINAL))


@NEEDS_DCMTK
@pytest.mark.parametrize(("name", "intercept"), [(ORIGINAL, 0), ("CT_small.dcm", -1024)])
def test_stored_numbers_are_what_dcmtk_reads(name, intercept):
    shown = subprocess.run(
        ["dcmdump", "+L", "+P", "PixelData", str(SAMPLES / name)], check=True, capture_output=True, text=True
    ).stdout
    words = shown.split()[2].split("\\")
    stored = np.array([int(word, 16) for word in words]).astype(np.uint16).astype(np.int16)
    assert np.array_equal(read(name).ravel(), stored + intercept)


def test_doses_of_32_bits_are_what_pydicom_says_of_them():
    dose = read("rtdose.dcm")
    assert dose.shape == (15, 10, 10)
    assert dose[0, 0, :3].tolist() == [1249000, 1249000, 1250000]
    for name in ("rtdose_rle.dcm", "rtdose_expb.dcm"):
        assert np.array_equal(read(name), dose)


CODECS = {
    "JPEG lossless, process 14": ["dcmcjpeg", "+el"],
    "JPEG lossless, first-order prediction": ["dcmcjpeg", "+e1"],
    "JPEG-LS lossless": ["dcmcjpls", "+el"],
    "RLE": ["dcmcrle"],
}


@NEEDS_DCMTK
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("sign", ["signed", "unsigned"])
@pytest.mark.parametrize("stored", [12, 16])
def test_what_dcmtk_compressed_is_what_it_was(codec, sign, stored, file, tmp_path):
    kind = np.int16 if sign == "signed" else np.uint16
    half = 1 << (stored - 1)
    least, most = (-half, half - 1) if sign == "signed" else (0, 2 * half - 1)
    values = np.random.default_rng(0).integers(least, most, (16, 16), endpoint=True).astype(kind)
    values[0, :2] = least, most
    original = ct_slice(0, values, BitsStored=stored, HighBit=stored - 1)
    path, compressed = file(original), tmp_path / "compressed.dcm"
    subprocess.run([*CODECS[codec], str(path), str(compressed)], check=True, capture_output=True)
    dataset = read_instance(compressed)
    assert dataset.file_meta.TransferSyntaxUID.is_compressed
    assert np.array_equal(frames(dataset)[0], values.astype(np.float32) - 1024)


@NEEDS_DCMTK
def test_lossy_baseline_is_near_what_it_was(file, tmp_path):
    y, x = np.mgrid[:64, :64]
    smooth = (100 + 50 * np.sin(x / 20) + 30 * np.cos(y / 15)).astype(np.uint8)
    path, compressed = file(ct_slice(0, smooth)), tmp_path / "compressed.dcm"
    subprocess.run(["dcmcjpeg", "+eb", str(path), str(compressed)], check=True, capture_output=True)
    assert np.abs(frames(read_instance(compressed))[0] + 1024 - smooth).max() < 8


@NEEDS_DCMTK
def test_frames_of_a_compressed_file_come_in_order(file, tmp_path):
    values = np.stack([np.full((16, 16), number, np.int16) for number in range(5)])
    dataset = ct_slice(0, values[0], NumberOfFrames=5)
    dataset.PixelData = values.tobytes()
    path, compressed = file(dataset), tmp_path / "compressed.dcm"
    subprocess.run(["dcmcjpls", "+el", str(path), str(compressed)], check=True, capture_output=True)
    assert (frames(read_instance(compressed))[:, 0, 0] + 1024).tolist() == [0, 1, 2, 3, 4]


def test_slope_and_intercept_make_hu_of_stored_numbers():
    found = frames(ct_slice(0, np.array([[0, 1], [2, 4095]], np.uint16), RescaleSlope=0.5))
    assert found.dtype == np.float32
    assert found.tolist() == [[[-1024, -1023.5], [-1023, 1023.5]]]


MEANINGLESS = "numbers that are no HU are learnt from as if they were"


@pytest.mark.attack(MEANINGLESS, held_by="a CT needs slope, intercept and HU")
@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("no-rescale", {"RescaleSlope": None, "RescaleIntercept": None}),
        ("no-rescale", {"RescaleIntercept": None}),
        ("bad-rescale", {"RescaleSlope": 0}),
        ("bad-rescale", {"RescaleSlope": [1, 2]}),
        ("bad-rescale", {"RescaleSlope": 1e12}),
        ("not-hu", {"RescaleType": "US"}),
        ("modality-lut", {"ModalityLUTSequence": [pydicom.Dataset()]}),
    ],
)
def test_a_ct_whose_numbers_are_no_hu_is_refused(rule, changes, refused):
    assert refused(frames, ct_slice(0, **changes)) == rule


@pytest.mark.mutant(MEANINGLESS, how="a missing slope is taken as 1")
def test_taking_slope_1_gives_numbers_that_mean_nothing(monkeypatch):
    monkeypatch.setattr("client_app.data.dicom.pixels._rescale", lambda dataset, frame: (1.0, 0.0))
    stored = ct_slice(0, RescaleSlope=None, RescaleIntercept=None)
    assert frames(stored)[0, 0, 0] == 0  # water; what was meant is air


def test_an_mr_without_slope_is_as_stored():
    changes = {"Modality": "MR", "RescaleSlope": None, "RescaleIntercept": None, "RescaleType": None}
    assert frames(ct_slice(7, **changes)).max() == 7


def test_bits_above_those_stored_are_no_part_of_a_value():
    overlaid = np.array([[0x8001, 0x0FFF], [0x1000, 0x7002]], np.uint16)
    dataset = ct_slice(0, overlaid, BitsStored=12, HighBit=11, RescaleIntercept=0)
    assert frames(dataset).tolist() == [[[1, 4095], [0, 2]]]
    dataset.PixelRepresentation = 1
    assert frames(dataset).tolist() == [[[1, -1], [0, 2]]]


def test_big_endian_is_read_as_such():
    values = np.array([[1, 256], [-2, 3]], np.int16)
    dataset = ct_slice(0, values)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    dataset.PixelData = values.astype(">i2").tobytes()
    assert (frames(dataset)[0] + 1024).tolist() == values.tolist()


def test_padding_takes_the_least_of_the_other_values():
    values = np.array([[-2000, 0], [24, 1024]], np.int16)
    assert frames(ct_slice(0, values, PixelPaddingValue=-2000)).tolist() == [[[-1024, -1024], [-1000, 0]]]
    ranged = ct_slice(0, values, PixelPaddingValue=-2000, PixelPaddingRangeLimit=0)
    assert frames(ranged).tolist() == [[[-1000, -1000], [-1000, 0]]]


def test_a_frame_of_padding_alone_is_refused(refused):
    assert refused(frames, ct_slice(5, PixelPaddingValue=5)) == "all-padding"


def test_monochrome1_is_turned_round_where_it_is_brightness_and_not_where_it_is_a_quantity():
    values = np.array([[0, 1], [4094, 4095]], np.uint16)
    changes = {"PhotometricInterpretation": "MONOCHROME1", "RescaleIntercept": 0}
    changes |= {"BitsStored": 12, "HighBit": 11}
    assert frames(ct_slice(0, values, **changes)).tolist() == [values.tolist()]
    x_ray = ct_slice(0, values, Modality="DX", RescaleType=None, **changes)
    assert frames(x_ray).tolist() == [[[4095, 4094], [1, 0]]]
    signed = ct_slice(0, values.astype(np.int16), Modality="DX", RescaleType=None, **changes)
    signed.PixelData = np.array([[-2048, -1], [0, 2047]], np.int16).tobytes()
    assert frames(signed).tolist() == [[[2047, 0], [-1, -2048]]]


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("colour", {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}),
        ("colour", {"PhotometricInterpretation": "PALETTE COLOR"}),
        ("colour", {"PhotometricInterpretation": None}),
        ("bits", {"BitsAllocated": 64}),
        ("bits", {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}),
        ("bad-pixel-description", {"BitsStored": 17}),
        ("bad-pixel-description", {"HighBit": 12}),
        ("bad-pixel-description", {"BitsAllocated": 12, "BitsStored": 12, "HighBit": 11}),
        ("bad-pixel-description", {"Rows": 0}),
        ("bad-pixel-description", {"NumberOfFrames": -1}),
        ("bad-pixel-description", {"PixelRepresentation": 2}),
        ("wrong-vr", {"Rows": None}),
        ("wrong-vr", {"NumberOfFrames": [1, 2]}),
        ("no-pixels", {"PixelData": None}),
        ("truncated", {"Rows": 17}),
        ("truncated", {"PixelData": b""}),
    ],
)
def test_what_is_not_read_is_refused_by_name(rule, changes, refused):
    assert refused(frames, ct_slice(0, **changes)) == rule


def test_floating_point_pixels_are_refused_by_name(refused):
    assert refused(frames, ct_slice(0, FloatPixelData=b"\0" * 1024, PixelData=None)) == "float-pixels"


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("colour", "SC_rgb_rle.dcm"),
        ("colour", "examples_palette.dcm"),
        ("colour", "examples_ybr_color.dcm"),
        ("bits", "liver_1frame.dcm"),
        ("no-pixels", "rtplan.dcm"),
        ("not-decodable", "JPGExtended.dcm"),  # 12 bits; what decodes it is GPL
        ("not-decodable", "JPEG2000-embedded-sequence-delimiter.dcm"),
    ],
)
def test_files_of_pydicom_that_are_not_read_are_refused_by_name(rule, name, refused):
    assert refused(read, name) == rule


def compressed(syntax, content, **changes):
    """A slice whose one frame is ``content``, whatever that is."""
    dataset = ct_slice(0, **changes)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = pydicom.encaps.encapsulate([content])
    return dataset


@pytest.mark.parametrize("content", [b"\0" * 64, b"\xff\x4f\xff\x51" + b"\xff" * 100, b"no image" * 9])
@pytest.mark.parametrize("syntax", [JPEG2000, RLELossless, JPEGLosslessSV1, JPEGLSLossless])
def test_a_compressed_frame_that_is_none_is_refused_by_name(syntax, content, refused):
    assert refused(frames, compressed(syntax, content)) in ("not-decodable", "truncated", "decoder-died")


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.8.1", "1.2.3.4"])
def test_a_syntax_that_nobody_reads_is_refused_by_name(syntax, refused):
    assert refused(frames, compressed(syntax, b"\0" * 64)) in ("not-decodable", "truncated")


def test_more_frames_than_said_are_refused(refused):
    dataset = ct_slice(0, np.zeros((32, 16), np.int16), Rows=16)
    assert refused(frames, dataset) == "bad-pixel-description"


def test_fewer_frames_than_said_are_refused(file, tmp_path, refused):
    one = pydicom.dcmread(SAMPLES / "MR_small_RLE.dcm")
    one.NumberOfFrames = 2
    assert refused(frames, one) == "truncated"


def test_a_file_as_it_is_written_is_read_as_it_is(file):
    dataset = ct_slice(3)
    assert frames(read_instance(file(as_bytes(dataset)))).tolist() == frames(dataset).tolist()
