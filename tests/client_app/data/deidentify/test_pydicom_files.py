"""Every DICOM file that pydicom comes with goes through, or is refused by a name; none crashes or tells."""

import io
from collections import Counter
from contextlib import suppress
from functools import cache
from pathlib import Path

import pydicom
import pytest
from pydicom import dcmread

from client_app.data.deidentify.options import Options
from client_app.data.deidentify.profile import deidentify, explain, written
from client_app.data.deidentify.quiet import quiet
from client_app.data.dicom.door import read_instance
from client_app.data.keys import Pseudonyms
from client_app.data.refusal import Refused

KEY = Pseudonyms(bytes(32))
FOLDER = Path(pydicom.__file__).parent / "data"
FILES = sorted(
    path
    for path in FOLDER.rglob("*")
    if path.is_file() and path.suffix in ("", ".dcm") and path.name not in ("py.typed",)
)
TAKING_ALL = Options(allow_heads=True, trust_annotation=True)


@cache
def outcome(path, options):
    """``"taken"``, or by which rule not; options that trust are given what they ask for."""
    try:
        dataset = read_instance(path)
        if options is TAKING_ALL:
            dataset.BurnedInAnnotation = "NO"
            dataset.PatientID = dataset.get("PatientID") or "4711-0815"
        before = shown(dataset)
        content = written(deidentify(dataset, KEY, options))
    except Refused as refused:
        return refused.rule
    with quiet("unreadable", "the result"):
        clean = dcmread(io.BytesIO(content))
        same = _pixels(dataset) in (_pixels(clean), "")
    assert same
    assert clean.PatientIdentityRemoved == "YES"
    assert shown(dataset) == before
    return "taken"


def _pixels(dataset):
    """All pixels, and how they are shown; empty where pydicom itself cannot read the original's."""
    try:
        pixels = dataset.pixel_array
    except ValueError:
        return ""
    return pixels.shape, pixels.dtype, pixels.tobytes()


def shown(dataset):
    """All of a data set, as text; empty where pydicom itself cannot show it."""
    try:
        with quiet("unreadable", "the file"):
            return str(dataset)
    except Refused:
        return ""


def test_there_are_files_to_try():
    assert len(FILES) > 150


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
@pytest.mark.parametrize("options", [Options(), TAKING_ALL], ids=["by default", "taking all"])
def test_a_file_goes_through_or_is_refused_by_name(path, options, capsys, caplog):
    rule = outcome(path, options)
    assert capsys.readouterr() == ("", "")
    assert not caplog.text
    assert rule not in ("identifier-left", "not-clean", "unwritable", "unreadable")


def test_a_good_part_of_them_goes_through():
    counted = Counter(outcome(path, TAKING_ALL) for path in FILES)
    assert counted["taken"] >= 80


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_can_be_explained_or_is_refused_by_name(path):
    with suppress(Refused):
        assert all(row.reason for row in explain(read_instance(path)))
