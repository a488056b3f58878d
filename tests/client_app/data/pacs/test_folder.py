"""A folder of DICOM files as an archive."""

import pytest
from whole_files import data_sets, fetched

from client_app.data.pacs.archive import archive
from client_app.data.pacs.settings import FolderSettings
from client_app.data.pacs.source import Wanted
from client_app.data.refusal import Refused
from federation.errors import RunError
from simulation.hospital.ct_series import encoded, studies


@pytest.fixture
def made():
    return studies(3, slices=4)


@pytest.fixture
def folder(made, tmp_path):
    """As exported: numbered, in folders, with all that lies about there."""
    root = tmp_path / "export"
    for number, file in enumerate(file for study in made for file in study.instances()):
        path = root / f"PAT{number % 3}" / f"IM{number:04}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(file))
    (root / "DICOMDIR").write_bytes(b"\0" * 200)
    (root / "empty.dcm").touch()
    (root / "notes.dcm").write_text("not DICOM")
    (root / "cut.dcm").write_bytes(encoded(made[0].instance(0))[:150])
    return root


def test_its_studies_are_found_and_fetched(folder, made, tmp_path):
    told = []
    with archive(FolderSettings(folder=folder), told.append) as source:
        refs = list(source.find(Wanted(accessions=(made[1].accession, "NONE1"))))
        assert [(ref.uid, ref.instances) for ref in refs] == [(made[1].uid, 4)]
        assert len(list(source.fetch(refs[0], tmp_path / "in"))) == 4
    assert fetched(tmp_path / "in") == data_sets(made[1:2])
    assert told[-1].left_out == 4


def test_links_are_not_followed(folder, made, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    outside = studies(5)[4]
    (elsewhere / "x.dcm").write_bytes(encoded(outside.instance(0)))
    (folder / "link").symlink_to(elsewhere)
    (folder / "x.dcm").symlink_to(elsewhere / "x.dcm")
    with archive(FolderSettings(folder=folder)) as source:
        found = {ref.uid for ref in source.find(Wanted(studies=(made[0].uid, outside.uid)))}
    assert found == {made[0].uid}


def test_the_same_file_twice_is_one(folder, made, tmp_path):
    (folder / "again.dcm").write_bytes(encoded(made[0].instance(0)))
    with archive(FolderSettings(folder=folder)) as source:
        (ref,) = source.find(Wanted(studies=(made[0].uid,)))
        assert len(list(source.fetch(ref, tmp_path / "in"))) == 4


def test_two_files_of_one_uid_are_refused(folder, made, tmp_path):
    other = made[0].instance(0)
    other.PixelData = bytes(len(other.PixelData))
    (folder / "other.dcm").write_bytes(encoded(other))
    with archive(FolderSettings(folder=folder)) as source:
        (ref,) = source.find(Wanted(studies=(made[0].uid,)))
        with pytest.raises(Refused) as refusal:
            list(source.fetch(ref, tmp_path / "in"))
    assert refusal.value.rule == "duplicate-instance"


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with (
        pytest.raises(RunError, match="nowhere is no folder"),
        archive(FolderSettings(folder=tmp_path / "nowhere")),
    ):
        pass
