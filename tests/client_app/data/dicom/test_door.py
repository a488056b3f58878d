import os
import subprocess
import sys
import warnings
from pathlib import Path

import pydicom
import pytest
from pydicom import config
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from client_app.data.dicom.door import read_instance
from client_app.data.dicom.limits import Limits
from client_app.data.refusal import Refused
from tests.client_app.data.dicom import hostile
from tests.client_app.data.dicom.conftest import SAMPLES, STUDY, as_bytes, ct_slice

PROJECT = Path(__file__).resolve().parents[4]
RUIN = "a small file takes all memory or time of whoever reads it"


def test_a_file_is_read_with_every_value_as_it_is(file):
    dataset = read_instance(file(ct_slice(3)))
    assert (str(dataset.PatientName), dataset.Rows, dataset.StudyInstanceUID) == ("Müller^Anna", 16, STUDY)
    assert dataset.file_meta.TransferSyntaxUID.is_little_endian
    assert not any(isinstance(element, pydicom.dataelem.RawDataElement) for element in dataset.values())


def test_pixels_that_do_not_say_what_they_mean_are_for_others_to_refuse(file):
    assert "PixelData" in read_instance(file(ct_slice(0, PhotometricInterpretation=None)))


# Every file that the wheel has is taken, or refused by one of these.
REFUSED = {
    "no-identifiers",  # palettes, directories, fragments
    "not-dicom",  # without preamble, or no DICOM
    "truncated",
    "wrong-vr",
    "no-transfer-syntax",
}


def test_every_file_of_pydicom_is_taken_or_refused_by_name():
    taken, rules = 0, set()
    for path in sorted(path for path in SAMPLES.parent.rglob("*") if path.is_file()):
        try:
            dataset = read_instance(path)
        except Refused as refused:
            rules.add(refused.rule)
            continue
        taken += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert dataset.SOPInstanceUID == pydicom.dcmread(path).SOPInstanceUID
    assert taken > 100
    assert rules == REFUSED


def test_a_deflated_file_is_inflated(file):
    dataset = read_instance(SAMPLES / "image_dfl.dcm")
    assert dataset.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert len(dataset.PixelData) == 512 * 512


@pytest.mark.parametrize(
    ("rule", "content"),
    [
        ("empty-file", b""),
        ("not-dicom", b"DICM"),
        ("not-dicom", b"no DICOM, whatever its name ends in" * 10),
        ("not-dicom", bytes(132)),
        ("no-transfer-syntax", bytes(128) + b"DICM"),
        ("truncated", as_bytes(ct_slice(0))[:-1]),
        ("truncated", as_bytes(ct_slice(0))[:140]),
        ("truncated", as_bytes(ct_slice(0))[:395]),
        ("truncated", hostile.long_value()),
        ("truncated", hostile.file_of(hostile.element(8, 0x1140, "SQ", hostile.item(), hostile.UNDEFINED))),
        ("bad-structure", hostile.file_of(hostile.element(8, 0x1140, "SQ", b"\1" * 16))),
        ("bad-structure", hostile.file_of(hostile.ITEM_END)),
        ("wrong-vr", hostile.file_of(hostile.element(8, 0x60, "ZZ", b"CT"))),
        ("wrong-vr", hostile.file_of(hostile.element(8, 0x60, "CS", b"CT"), ImplicitVRLittleEndian)),
        ("wrong-vr", hostile.file_of(hostile.element(0x28, 0x10, "US", b"\1"))),
        ("bad-structure", hostile.file_of(b"no deflated stream", DeflatedExplicitVRLittleEndian)),
        ("truncated", hostile.file_of(b"", DeflatedExplicitVRLittleEndian)),
        ("no-identifiers", hostile.file_of(hostile.element(8, 0x60, "CS", b"CT"))),
        ("no-identifiers", as_bytes(ct_slice(0, StudyInstanceUID=None))),
        ("too-large", hostile.huge_frames()),
        ("too-large", as_bytes(ct_slice(0, NumberOfFrames=1_000_000))),
        ("truncated", as_bytes(ct_slice(0, Rows=65535, Columns=8000))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_whole_instance_is_refused_by_name(rule, content, file, refused):
    assert refused(read_instance, file(content)) == rule


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path, refused):
    os.mkfifo(tmp_path / "pipe.dcm")
    assert refused(read_instance, tmp_path / "pipe.dcm") == "not-a-file"
    assert refused(read_instance, Path("/dev/zero")) == "not-a-file"
    assert refused(read_instance, tmp_path) == "not-a-file"
    assert refused(read_instance, tmp_path / "Müller.dcm") == "unreadable"


@pytest.mark.parametrize(
    ("rule", "limits", "content"),
    [
        ("too-large", Limits(file_bytes=1000), as_bytes(ct_slice(0))),
        ("too-large", Limits(inflated_bytes=1000), hostile.deflated_bomb(1)),
        ("too-large", Limits(metadata_bytes=100), as_bytes(ct_slice(0))),
        ("too-large", Limits(pixel_bytes=511), as_bytes(ct_slice(0))),
        ("too-large", Limits(frames=1), as_bytes(ct_slice(0, NumberOfFrames=2))),
        ("too-many-parts", Limits(parts=10), as_bytes(ct_slice(0))),
        ("too-many-parts", Limits(parts=1000), hostile.items(1000)),
        ("too-many-parts", Limits(parts=1000), hostile.elements(1001)),
        ("too-many-parts", Limits(parts=1000), hostile.values(1000)),
        ("too-deep", Limits(depth=3), hostile.nested(4, delimited=True)),
        ("too-deep", Limits(depth=3), hostile.nested(4, delimited=False)),
        ("too-deep", Limits(depth=3), hostile.hidden_nesting(4)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_more_than_the_limits_is_refused_by_name(rule, limits, content, file, refused):
    assert refused(read_instance, file(content), limits) == rule


TRICKS = "an identifier that is a path writes outside of its folder"
TRICKY = ["../../etc/passwd", "1.2/3", "1.2.3\\..\\x", "1" * 65, "Müller", ".", "1..2"]


def tricky(uid):
    with config.disable_value_validation():
        return as_bytes(ct_slice(0, SeriesInstanceUID=uid))


@pytest.mark.attack(TRICKS, held_by="UIDs are digits and dots")
@pytest.mark.parametrize("uid", TRICKY)
def test_a_path_is_no_uid(uid, file, refused):
    assert refused(read_instance, file(tricky(uid))) == "bad-uid"


@pytest.mark.mutant(TRICKS, how="UIDs are taken as they come")
def test_taken_as_it_comes_a_uid_is_a_path(file, monkeypatch):
    monkeypatch.setattr("client_app.data.dicom.door._check_identifiers", lambda dataset: None)
    assert ".." in read_instance(file(tricky("../../etc/passwd"))).SeriesInstanceUID


def test_a_value_that_is_none_is_refused_and_not_quoted(file, refused, recwarn, caplog):
    wrong = hostile.file_of(hostile.element(0x20, 0x13, "IS", "Müller".encode() + b" "))
    assert refused(read_instance, file(wrong)) == "wrong-vr"
    assert len(recwarn) == 0
    assert "Müller" not in caplog.text


def test_what_pydicom_only_warns_of_is_not_said_in_a_log(file, recwarn, caplog):
    with config.disable_value_validation():
        content = as_bytes(ct_slice(0, StudyTime="at Müllers'", AccessionNumber="Müller" * 9))
    read_instance(file(content))
    assert len(recwarn) == 0
    assert "Müller" not in caplog.text


# What runs with so many MiB more than it began with, and no more than half a minute of computing.
CONFINED = """
import resource, sys, warnings
from pathlib import Path
{read}
warnings.simplefilter("ignore")
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + ({memory} << 20),) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (30, 30))
for name in sys.argv[1:]:
    print(read(Path(name)), flush=True)
"""
DOOR = """
from client_app.data.dicom.door import read_instance
from client_app.data.refusal import Refused
def read(path):
    try:
        read_instance(path)
    except Refused as refused:
        return refused.rule
    return "taken"
"""
WITHOUT_WALK = (
    DOOR
    + """
from client_app.data.dicom import door
door.check_structure = lambda *args: None
"""
)
PLAIN = """
import pydicom
def read(path):
    try:
        pydicom.dcmread(path)
    except Exception as error:
        return type(error).__name__
    return "taken"
"""
HOSTILE = {
    "deflated": (lambda: hostile.deflated_bomb(3000), "too-large"),
    "long value": (hostile.long_value, "truncated"),
    "frames": (hostile.huge_frames, "too-large"),
    "items": (lambda: hostile.items(1_000_000), "too-many-parts"),
    "elements": (lambda: hostile.elements(1_000_000), "too-many-parts"),
    "values": (lambda: hostile.values(12_000_000), "too-many-parts"),
    "just allowed items": (lambda: hostile.items(249_000), "no-identifiers"),
    "just allowed elements": (lambda: hostile.elements(249_000), "no-identifiers"),
    "just allowed values": (lambda: hostile.values(249_000), "no-identifiers"),
    "nested": (lambda: hostile.nested(5000, delimited=True), "too-deep"),
    "nested by length": (lambda: hostile.nested(5000, delimited=False), "too-deep"),
    "nested where nobody looks": (lambda: hostile.hidden_nesting(5000), "too-deep"),
}


def confined(read, tmp_path, *names, memory=700):
    """What each hostile file came to; nothing more where the process was killed."""
    paths = [tmp_path / f"{number}.dcm" for number in range(len(names))]
    for path, name in zip(paths, names, strict=True):
        path.write_bytes(HOSTILE[name][0]())
    return subprocess.run(
        [sys.executable, "-c", CONFINED.format(read=read, memory=memory), *map(str, paths)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    ).stdout.split()


@pytest.mark.attack(RUIN, held_by="the structure is walked and counted before pydicom makes objects of it")
def test_hostile_files_are_refused_within_memory_and_time(tmp_path):
    assert confined(DOOR, tmp_path, *HOSTILE) == [rule for _, rule in HOSTILE.values()]


@pytest.mark.mutant(RUIN, how="pydicom reads the file as it is")
@pytest.mark.parametrize("name", ["deflated", "long value", "nested"])
def test_without_a_door_they_take_all_memory(tmp_path, name):
    assert confined(PLAIN, tmp_path, name) in (["MemoryError"], ["RecursionError"])


@pytest.mark.mutant(RUIN, how="the structure is not walked")
def test_without_the_walk_memory_is_not_enough(tmp_path):
    assert confined(DOOR, tmp_path, "items", memory=100) == ["too-many-parts"]
    # Out of memory, which Python survives or does not.
    assert confined(WITHOUT_WALK, tmp_path, "items", memory=100) in (["too-large"], [])
