"""PNG and NIfTI images with a CSV."""

import numpy as np
import pytest
from PIL import Image

from client_app.data.pacs import images
from client_app.data.pacs.images import read_images
from client_app.data.refusal import Refused
from federation.errors import ConfigError, DataError


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (4, 6), dtype=np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(rng.integers(0, 60000, (4, 6), dtype=np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(rng.integers(0, 255, (4, 6, 3), dtype=np.uint8)).save(tmp_path / "colour.png")
    return tmp_path


def read(folder, *rows, head="file,patient,label"):
    table = folder / "labels.csv"
    table.write_text("\n".join([head, *rows]), encoding="utf-8")
    return list(read_images(folder, table))


def test_images_come_in_the_order_of_the_csv_with_what_it_says(folder):
    deep, grey = read(folder, "deep.png,Müller,ill", "a.png,P2,well")
    assert (deep.patient, deep.label, deep.values.shape, deep.values.dtype) == (
        "Müller",
        "ill",
        (1, 4, 6),
        "float32",
    )
    assert deep.values.max() > 255
    assert deep.spacing is None
    assert np.array_equal(grey.values[0], np.asarray(Image.open(folder / "a.png")))
    assert "Müller" not in repr(deep)


def test_colours_become_grey(folder):
    (image,) = read(folder, "colour.png,P,x")
    assert image.values.shape == (1, 4, 6)


@pytest.mark.parametrize(
    ("content", "rule"),
    [(b"", "not-an-image"), (b"GIF89a", "not-an-image"), (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "not-an-image")],
)
def test_one_that_cannot_be_read_is_refused_and_the_rest_goes_on(folder, content, rule):
    (folder / "Smith_John.png").write_bytes(content)
    refusal, image = read(folder, "Smith_John.png,P1,x", "a.png,P2,y")
    assert isinstance(refusal, Refused)
    assert refusal.rule == rule
    assert "row 2 of" in str(refusal)
    assert "Smith" not in str(refusal)
    assert image.patient == "P2"


def test_a_bomb_is_not_unpacked(folder, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    (refusal,) = read(folder, "a.png,P,x")
    assert refusal.rule == "too-large"


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "nowhere.png", ".", "link.png"])
def test_names_lead_to_files_of_the_folder_only(folder, name):
    outside = folder.parent / "secret.png"
    Image.fromarray(np.zeros((2, 2), dtype=np.uint8)).save(outside)
    (folder / "link.png").symlink_to(outside)
    (refusal,) = read(folder, f"{name},P,x")
    assert refusal.rule == "no-such-file"
    outside.unlink()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "no rows"),
        (["a.png,P"], "row 2 of .* lacks"),
        (["a.png,,x"], "row 2 of .* lacks"),
        (["a.png,P,x", "a.png,P,x"], "row 3 of .* names a file that a row above names"),
    ],
)
def test_a_csv_that_is_not_whole_is_an_error(folder, rows, said):
    with pytest.raises(DataError, match=said):
        read(folder, *rows)


def test_a_csv_without_a_column_is_an_error(folder):
    with pytest.raises(DataError, match="columns file, patient, label"):
        read(folder, "a.png,x", head="file,label")


def test_nifti_without_nibabel_is_named(folder, monkeypatch):
    def missing(_):
        raise ImportError

    monkeypatch.setattr(images, "import_module", missing)
    (folder / "ct.nii.gz").touch()
    with pytest.raises(ConfigError, match="pip install nibabel"):
        read(folder, "ct.nii.gz,P,x")


class TestNifti:
    @pytest.fixture
    def nibabel(self):
        return pytest.importorskip("nibabel", reason="nibabel is not installed; pip install nibabel")

    def test_slices_go_up_whatever_way_the_file_was_written(self, folder, nibabel):
        """One voxel is marked at the left, back, and top; the other file runs the other way on each axis."""
        values = np.zeros((5, 4, 3), dtype=np.int16)
        values[0, 0, 2] = 7  # in RAS+: leftmost, rearmost, topmost
        affine = np.diag([0.5, 0.6, 2.5, 1])
        nibabel.save(nibabel.Nifti1Image(values, affine), folder / "ras.nii.gz")
        turned = np.diag([-0.5, -0.6, -2.5, 1])
        nibabel.save(nibabel.Nifti1Image(values[::-1, ::-1, ::-1], turned), folder / "lpi.nii")
        for image in read(folder, "ras.nii.gz,P,x", "lpi.nii,P,x"):
            assert image.values.shape == (3, 4, 5)
            assert image.values[2, 3, 4] == 7
            assert image.spacing == pytest.approx((2.5, 0.6, 0.5))

    def test_one_that_is_no_volume_is_refused(self, folder, nibabel):
        nibabel.save(
            nibabel.Nifti1Image(np.zeros((2, 2, 2, 3), dtype=np.int16), np.eye(4)), folder / "4d.nii"
        )
        (folder / "cut.nii.gz").write_bytes(b"\x1f\x8b" + b"\0" * 20)
        rules = [refusal.rule for refusal in read(folder, "4d.nii,P,x", "cut.nii.gz,P,x")]
        assert rules == ["not-a-volume", "not-an-image"]
