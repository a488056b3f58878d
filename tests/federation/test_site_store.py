"""The layout of a hospital's store; what is written is tested with who writes it."""

from dataclasses import replace

import pytest

from federation.errors import DataError
from federation.site_store import StoredSeries, array_path, has_store, row_of, version_of

ONE = StoredSeries(
    series="2.25.1",
    patient="00000000000000aa",
    digest="ab" * 32,
    modality="CT",
    spacing=(1.25, 0.75, 0.5),
    shape=(3, 64, 64),
    directions=((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)),
    facts={"kernel": "B60f"},
    features={"label": "benign"},
)
OTHER = replace(ONE, series="2.25.2", patient="00000000000000bb", digest="cd" * 32)
CHANGES = {
    "series": "2.25.3",
    "patient": "00000000000000cc",
    "digest": "ef" * 32,
    "modality": "MR",
    "spacing": (1.25, 0.75, 0.75),
    "shape": (3, 64, 65),
    "directions": ((0.0, 0.0, -1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)),
    "facts": {},
    "features": {"label": "malignant"},
}
EXCHANGED = "what a study learns from is exchanged under the version that was approved"


@pytest.mark.attack(EXCHANGED, held_by="a version is of all that is live")
@pytest.mark.parametrize("name", CHANGES)
def test_whatever_changes_is_another_version(name):
    assert version_of([replace(ONE, **{name: CHANGES[name]}), OTHER]) != version_of([ONE, OTHER])


@pytest.mark.mutant(EXCHANGED, how="a version is of images alone")
def test_a_version_of_images_alone_stays_when_a_label_changes(monkeypatch):
    monkeypatch.setattr(StoredSeries, "canonical", lambda self: self.digest)
    assert version_of([replace(ONE, features={"label": "malignant"})]) == version_of([ONE])


def test_a_version_hangs_on_no_order_and_on_every_row():
    assert version_of([ONE, OTHER]) == version_of([OTHER, ONE])
    assert len({version_of(rows) for rows in ([], [ONE], [OTHER], [ONE, OTHER])}) == 4


def test_an_array_lies_under_the_first_two_digits_of_its_hash(tmp_path):
    assert array_path(tmp_path, ONE.digest) == tmp_path / "arrays" / "ab" / f"{'ab' * 32}.npy"
    assert not has_store(tmp_path)


def test_a_row_that_is_none_is_said_by_its_array_alone():
    row = ("2.25.1", "somebody", "ab" * 32, "CT", "[1,2]", "[1,2,3]", "[]", "{}", "{}")
    with pytest.raises(DataError, match="abababababab cannot be read") as error:
        row_of(row)
    assert "somebody" not in str(error.value)
