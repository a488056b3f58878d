"""``wardround-site deidentify``, as somebody at a hospital types it."""

import re
import stat

import pytest
from click.testing import CliRunner
from pydicom import dcmread
from pydicom.data import get_testdata_file

from benchmarks.planted_files import STANDARD, planted_ct
from client_app.commands.deidentify import deidentify


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with two slices of a patient whose name is in their files' names, a report, and rubbish."""
    monkeypatch.chdir(tmp_path)
    for number in range(2):
        (tmp_path / f"Zimmerquist{number}.dcm").write_bytes(planted_ct(number)[0])
    (tmp_path / "report.dcm").symlink_to(get_testdata_file("test-SR.dcm"))
    (tmp_path / "rubbish.dcm").write_bytes(b"no DICOM at all" * 20)
    (tmp_path / "empty.dcm").touch()
    return tmp_path


def typed(*words):
    return CliRunner().invoke(deidentify, [str(word) for word in words])


def to_out(*files):
    return typed(*files, "--to", "out", "--key", "keys/pseudonyms")


def test_files_are_written_under_their_new_uids_for_their_owner_alone(here):
    done = to_out("Zimmerquist0.dcm", "Zimmerquist1.dcm")
    assert done.exit_code == 0
    written = sorted((here / "out").iterdir())
    assert [f"out/{path.name}" for path in written] == sorted(done.stdout.split())
    for path in written:
        assert dcmread(path).SOPInstanceUID == path.stem
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((here / "keys/pseudonyms").stat().st_mode) == 0o600
    assert len({dcmread(path).StudyInstanceUID for path in written}) == 1


def test_what_is_refused_is_told_by_number_and_the_rest_goes_on(here):
    done = to_out("report.dcm", "rubbish.dcm", "empty.dcm", "Zimmerquist0.dcm", "nowhere.dcm")
    assert done.exit_code == 1
    rules = re.findall(r"file (\d) refused \((.*?)\)", done.stderr)
    expected = [("1", "structured-report"), ("2", "not-dicom"), ("3", "empty-file"), ("5", "unreadable")]
    assert rules == expected
    assert "1 de-identified, 4 refused" in done.stderr
    assert len(list((here / "out").iterdir())) == 1


def test_nothing_that_it_says_names_a_patient(here):
    said = to_out("Zimmerquist0.dcm", "report.dcm").output + typed("--explain", "Zimmerquist0.dcm").output
    assert not [text for text in STANDARD.values() if text in said]
    assert "Zimmerquist" not in said


def test_again_is_the_same_and_another_of_that_uid_is_refused(here):
    assert to_out("Zimmerquist0.dcm").exit_code == 0
    before = {path.name: path.read_bytes() for path in (here / "out").iterdir()}
    assert to_out("Zimmerquist0.dcm").exit_code == 0
    other = dcmread("Zimmerquist0.dcm")
    other.PixelData = bytes(len(other.PixelData))
    other.save_as("other.dcm")
    assert "duplicate-uid" in to_out("other.dcm").stderr
    assert {path.name: path.read_bytes() for path in (here / "out").iterdir()} == before


def test_explain_says_of_each_attribute_what_and_why_and_writes_nothing(here):
    before = sorted(path.name for path in here.iterdir())
    said = typed("--explain", "Zimmerquist0.dcm").stdout
    assert said.startswith("taken")
    for line in (
        r"0010,0010 +PatientName +D +the pseudonym",
        r"0008,0020 +StudyDate +C +shifted +option Modified Dates: C",
        r"0008,0050 +AccessionNumber +Z +emptied +Basic Profile: Z",
        r"0009,1001 +private +X +removed +private",
        r"0008,1140 > 0008,1155 +ReferencedImageSequence > ReferencedSOPInstanceUID +U +a keyed UID",
    ):
        assert re.search(line, said), line
    assert sorted(path.name for path in here.iterdir()) == before


def test_explain_says_by_which_rule_a_file_is_refused(here):
    assert typed("--explain", "report.dcm").stdout.startswith("refused (structured-report)")


def test_without_a_folder_or_a_key_it_says_what_to_give(here):
    assert "--to and --key" in typed("Zimmerquist0.dcm").output


def test_a_head_is_taken_where_somebody_says_so(here):
    head = dcmread("Zimmerquist0.dcm")
    head.BodyPartExamined = "HEAD"
    head.save_as("head.dcm")
    assert "refused (head)" in to_out("head.dcm").stderr
    assert typed("head.dcm", "--to", "out", "--key", "key", "--allow-heads").exit_code == 0
