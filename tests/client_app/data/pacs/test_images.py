"""PNG and NIfTI images: their values, and of what else a file says only where they lie."""

import errno
import gzip
import struct
from collections import Counter

import nibabel
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from client_app.data.deidentify.options import Options
from client_app.data.pacs.images import ImageKind, read_image
from client_app.data.refusal import Refused
from federation.errors import ConfigError
from tests.client_app.data.deidentify.conftest import drawn

__all__ = ["drawn"]

BOMB = "a small file that unpacks to more than the machine has"
XRAY = ImageKind("DX", "CHEST", spacing=0.2)
CT = ImageKind("CT", "CHEST")
GREY = np.random.default_rng(0).integers(0, 255, (12, 16), dtype=np.uint8)


def tissue():
    return np.random.default_rng(0).rayleigh(20, (256, 256))


def png(folder, values, **options):
    Image.fromarray(values).save(folder / "image.png", **options)
    return folder / "image.png"


def nifti(folder, values, affine=None, name="ct.nii.gz", kind=nibabel.Nifti1Image):
    nibabel.save(kind(values, np.diag([0.5, 0.6, 2.5, 1]) if affine is None else affine), folder / name)
    return folder / name


def patched(path, fields):
    """The file with other values in its header, by their place."""
    content = bytearray(path.read_bytes())
    for place, (form, *values) in fields.items():
        struct.pack_into(form, content, place, *values)
    path.write_bytes(content)
    return path


def refused(path, kind=CT):
    with pytest.raises(Refused) as error:
        read_image(path, kind)
    assert path.name not in str(error.value)
    return error.value.rule


class TestPng:
    def test_it_is_one_slice_of_somebody_upright(self, tmp_path):
        image = read_image(png(tmp_path, GREY), XRAY)
        assert np.array_equal(image.values, GREY[None])
        assert (image.spacing, image.modality, image.facts) == ((1, 0.2, 0.2), "DX", {"body_part": "CHEST"})
        assert image.directions == ((0, 1, 0), (0, 0, -1), (1, 0, 0))

    def test_more_than_eight_bits_stay(self, tmp_path):
        deep = GREY.astype(np.uint16) * 250
        assert np.array_equal(read_image(png(tmp_path, deep), XRAY).values, deep[None])

    def test_grey_that_is_written_as_colour_is_grey(self, tmp_path):
        assert np.array_equal(read_image(png(tmp_path, np.dstack([GREY] * 3)), XRAY).values, GREY[None])

    def test_colour_is_a_screen_where_machines_see_none(self, tmp_path):
        colours = png(tmp_path, np.dstack([GREY, GREY, GREY.T.reshape(GREY.shape)]))
        assert refused(colours, XRAY) == "screenshot"
        assert read_image(colours, ImageKind("OP", spacing=0.1, without_text=True)).shape == (1, 12, 16)

    @pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
    def test_what_is_none_is_refused(self, tmp_path, content):
        (tmp_path / "Smith_John.png").write_bytes(content)
        assert refused(tmp_path / "Smith_John.png", XRAY) == "not-an-image"

    @pytest.mark.parametrize("fault", [OSError(errno.EIO, "Input/output error"), MemoryError()])
    def test_what_the_machine_does_not_read_may_be_read_the_next_time(self, tmp_path, monkeypatch, fault):
        def failing(*_, **__):
            raise fault

        image = png(tmp_path, GREY)
        (tmp_path / "a.nii").write_bytes(b"")
        monkeypatch.setattr(Image, "open", failing)
        monkeypatch.setattr("client_app.data.pacs.nifti._unpacked", failing)
        for path, kind in ((image, XRAY), (tmp_path / "a.nii", CT)):
            with pytest.raises(Refused) as refusal:
                read_image(path, kind)
            assert (refusal.value.rule, refusal.value.passing) == ("unreadable", True)

    def test_a_film_is_refused(self, tmp_path):
        more = [Image.fromarray(GREY[::-1])]
        assert refused(png(tmp_path, GREY, save_all=True, append_images=more), XRAY) == "multi-frame"

    @pytest.mark.attack(
        BOMB, held_by="what a header says is held against a limit before anything is unpacked"
    )
    def test_one_that_is_too_large_is_not_unpacked(self, tmp_path, monkeypatch):
        path = png(tmp_path, GREY)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
        assert refused(path, XRAY) == "too-large"

    def test_what_the_file_does_not_say_somebody_has_to(self, tmp_path):
        assert refused(png(tmp_path, GREY), ImageKind("DX")) == "no-spacing"
        assert refused(png(tmp_path, GREY), CT) == "no-geometry"

    def test_a_name_in_the_picture_is_found(self, tmp_path, drawn):
        assert refused(png(tmp_path, drawn("ZIMMERQUIST", tissue()).astype(np.uint8)), XRAY) == (
            "burned-in-text"
        )

    def test_a_name_beside_the_picture_does_not_come_along(self, tmp_path):
        said = PngImagePlugin.PngInfo()
        said.add_text("Patient", "ZIMMERQUIST")
        image = read_image(png(tmp_path, GREY, pnginfo=said), XRAY)
        assert "ZIMMERQUIST" not in repr((image.facts, image.modality, image.values.tobytes()))


class TestNifti:
    @pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
    def test_slices_go_up_whatever_way_the_file_was_written(self, tmp_path, kind):
        """One voxel is marked at the left, back, and top; the other file runs the other way on each axis."""
        values = np.zeros((5, 4, 3), dtype=np.int16)
        values[0, 0, 2] = 7  # in RAS+: leftmost, rearmost, topmost
        upright = nifti(tmp_path, values, kind=kind)
        turned = nifti(tmp_path, values[::-1, ::-1, ::-1], np.diag([-0.5, -0.6, -2.5, 1]), "lpi.nii", kind)
        for image in (read_image(upright, CT), read_image(turned, CT)):
            assert image.values.dtype == np.int16
            assert image.shape == (3, 4, 5)
            assert image.values[2, 3, 4] == 7
            assert image.spacing == pytest.approx((2.5, 0.6, 0.5))
            assert image.directions == ((0, 0, 1), (0, 1, 0), (1, 0, 0))

    def test_where_its_slices_lean_is_kept(self, tmp_path):
        lean = np.eye(4)
        lean[1:3, 1:3] = [[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]
        values = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
        image = read_image(nifti(tmp_path, values, lean), CT)
        # Up the slices is back or front as the affine says: in RAS (0, -sin, cos), in LPS (0, sin, cos).
        assert image.directions[0] == pytest.approx((0, np.sin(0.2), np.cos(0.2)))
        assert image.directions[1] == pytest.approx((0, np.cos(0.2), -np.sin(0.2)))

    def test_slope_intercept_and_micrometres_are_heeded(self, tmp_path):
        path = nifti(tmp_path, np.full((2, 3, 4), 10, np.int16), np.diag([500, 600, 2500, 1]), "a.nii")
        patched(path, {112: ("<2f", 0.5, -1024), 123: ("B", 3)})
        image = read_image(path, CT)
        assert image.spacing == pytest.approx((2.5, 0.6, 0.5))
        assert (image.values == 10 * 0.5 - 1024).all()

    def test_one_that_is_no_volume_is_refused(self, tmp_path):
        assert refused(nifti(tmp_path, np.zeros((2, 2, 2, 3), np.int16))) == "not-a-volume"
        assert refused(nifti(tmp_path, np.zeros((2, 2, 2), np.complex64))) == "not-a-volume"
        assert read_image(nifti(tmp_path, np.zeros((2, 3, 4, 1), np.int16)), CT).shape == (4, 3, 2)

    def test_one_that_does_not_say_where_it_lies_is_refused(self, tmp_path):
        image = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4))
        image.set_sform(None)
        image.set_qform(None)
        image.to_filename(tmp_path / "a.nii")
        assert refused(tmp_path / "a.nii") == "no-geometry"
        tilted = np.eye(4)
        tilted[1, 2] = 0.5
        assert refused(nifti(tmp_path, np.zeros((2, 2, 2), np.int16), tilted)) == "bad-geometry"
        flat = patched(nifti(tmp_path, np.zeros((2, 2, 2), np.int16), name="b.nii"), {280: ("<3f", 0, 0, 0)})
        assert refused(flat) == "bad-geometry"

    def test_values_that_are_none_are_refused(self, tmp_path):
        assert refused(nifti(tmp_path, np.full((2, 2, 2), np.nan, np.float32))) == "not-finite"
        assert refused(nifti(tmp_path, np.full((2, 2, 2), 1e300))) == "not-finite"

    @pytest.mark.parametrize(
        "content", [b"", b"\x1f\x8b" + b"\0" * 20, gzip.compress(b"\0" * 999, mtime=0), b"x" * 999]
    )
    def test_what_is_none_is_refused(self, tmp_path, content):
        (tmp_path / "a.nii.gz").write_bytes(content)
        assert refused(tmp_path / "a.nii.gz") == "not-an-image"

    def test_half_of_one_is_refused(self, tmp_path):
        path = nifti(tmp_path, np.random.default_rng(0).integers(0, 99, (20, 20, 20)).astype(np.int16))
        path.write_bytes(path.read_bytes()[:5000])
        assert refused(path) == "not-an-image"

    def test_a_name_in_a_slice_is_found(self, tmp_path, drawn):
        values = np.zeros((256, 256, 3), np.int16)
        values[..., 1] = drawn("ZIMMERQUIST", tissue()).astype(np.int16).T
        assert refused(nifti(tmp_path, values)) == "burned-in-text"

    @pytest.mark.attack(
        BOMB, held_by="what a header says is held against a limit before anything is unpacked"
    )
    def test_one_that_says_it_is_too_large_is_not_unpacked(self, tmp_path):
        path = nifti(tmp_path, np.zeros((2, 2, 2), np.int16), name="a.nii")
        assert refused(patched(path, {42: ("<3h", 32767, 32767, 32767)})) == "too-large"
        path = nifti(tmp_path, np.zeros((2, 2, 2), np.int16), name="b.nii")
        assert refused(patched(path, {108: ("<f", 1e12)})) == "too-large"  # where its voxels begin

    @pytest.mark.attack(
        BOMB, held_by="what a header says is held against a limit before anything is unpacked"
    )
    def test_one_that_unpacks_to_more_than_it_says_is_given_up_there(self, tmp_path, monkeypatch):
        path, read = bomb(tmp_path), unpacked(monkeypatch)
        assert refused(path) == "too-large"
        assert sum(read) < 1000

    @pytest.mark.mutant(BOMB, how="nibabel opens the file by itself")
    def test_reading_all_that_there_is_is_noticed(self, tmp_path, monkeypatch):
        path, read = bomb(tmp_path), unpacked(monkeypatch)
        with gzip.open(path) as file:
            file.read()
        assert sum(read) > 1 << 24


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_whatever_bytes_are_wrong_it_is_an_image_or_refused(tmp_path, kind):
    content = nifti(tmp_path, GREY.astype(np.int16).reshape(4, 6, 8), name="a.nii", kind=kind).read_bytes()
    draw = np.random.default_rng(0)
    outcomes = Counter()
    for _ in range(400):
        broken = bytearray(content)
        for place in draw.integers(0, 560, draw.integers(1, 4)):
            broken[place] = draw.choice([0, 127, 128, 255])
        end = draw.integers(1, 4 * len(broken))  # of one in four something is missing
        (tmp_path / "a.nii").write_bytes(broken[:end])
        try:
            outcomes[read_image(tmp_path / "a.nii", CT).modality] += 1
        except Refused as reason:
            outcomes[reason.rule] += 1
    assert outcomes.keys() >= {"CT", "not-an-image", "too-large"}


def bomb(folder):
    """A volume of 8 voxels, and 16 MiB of nothing."""
    path = nifti(folder, np.zeros((2, 2, 2), np.int16), name="a.nii")
    packed = folder / "a.nii.gz"
    packed.write_bytes(gzip.compress(path.read_bytes() + bytes(1 << 24)))
    return packed


def unpacked(monkeypatch):
    """How many bytes came out of each read."""
    sizes, read = [], gzip.GzipFile.read

    def counted(self, size=-1):
        content = read(self, size)
        sizes.append(len(content))
        return content

    monkeypatch.setattr(gzip.GzipFile, "read", counted)
    return sizes


class TestKind:
    def test_of_a_ct_the_part_of_the_body_is_said_and_heads_are_not_taken(self):
        with pytest.raises(ConfigError, match="needs a body part"):
            ImageKind("CT")
        with pytest.raises(ConfigError, match="a face can be rendered"):
            ImageKind("MR", "BRAIN")
        assert ImageKind("MR", "BRAIN", options=Options(allow_heads=True)).body_part == "BRAIN"
        assert ImageKind("DX", "SKULL").body_part == "SKULL"

    @pytest.mark.parametrize("modality", ["US", "XA", "OP", "SM", "NM", "OT"])
    def test_where_machines_write_names_somebody_has_to_look(self, modality):
        with pytest.raises(ConfigError, match="--no-burned-in-text"):
            ImageKind(modality)
        assert ImageKind(modality, without_text=True).wary

    def test_a_distance_of_pixels_that_cannot_be_is_told_with_what_can(self):
        with pytest.raises(ConfigError, match=r"spacing=-1 mm is not between 0\.0001 and 1000; give the mm"):
            ImageKind("DX", spacing=-1)

    @pytest.mark.parametrize(
        "wrong",
        [{"modality": "dx"}, {"modality": "*"}, {"body_part": "a b"}, {"spacing": 0}, {"spacing": np.nan}],
    )
    def test_what_is_none_is_an_error(self, wrong):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            ImageKind(**{"modality": "DX"} | wrong)
