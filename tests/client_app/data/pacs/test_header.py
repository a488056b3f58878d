"""What is read of a stranger's file, and that it is told to nobody."""

import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from client_app.data.pacs.header import read_header, same_dataset
from client_app.data.pacs.quiet import silence_libraries
from client_app.data.refusal import Refused
from simulation.hospital.ct_series import CtStudy, Patient, encoded, planted

STUDY = CtStudy(3, Patient(4), slices=2)
CONTENT = encoded(STUDY.instance(0))


@pytest.mark.parametrize("syntax", [STUDY.syntax, ImplicitVRLittleEndian, RLELossless, JPEGLSLossless])
def test_it_is_read_whatever_the_encoding(tmp_path, syntax):
    study = CtStudy(3, Patient(4), slices=2, syntax=syntax)
    (tmp_path / "x").write_bytes(encoded(study.instance(1)))
    header = read_header(tmp_path / "x")
    assert list(header.values())[1:] == [study.sop_uid(1), study.uid, study.series_uid()]


def test_a_deflated_file_is_not_unpacked(tmp_path):
    """Its header is packed with all the rest, which may be a thousand times as large."""
    file = STUDY.instance(0)
    file.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    (tmp_path / "x").write_bytes(encoded(file))
    with pytest.raises(Refused) as refusal:
        read_header(tmp_path / "x")
    assert refusal.value.rule == "transfer-syntax"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(st.integers(128, 1200), st.binary(min_size=1, max_size=8), st.integers(130, len(CONTENT)))
def test_broken_bytes_are_refused_or_read_and_never_quoted(tmp_path, place, wrong, end):
    (tmp_path / "x").write_bytes((CONTENT[:place] + wrong + CONTENT[place + len(wrong) :])[:end])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        silence_libraries()
        refusals = list(refused(tmp_path / "x"))
    assert [refusal.__context__ for refusal in refusals] in ([], [None])
    assert not {text for text in planted(STUDY) if text in " ".join(map(str, refusals))}


def refused(path):
    try:
        read_header(path)
    except Refused as refusal:
        yield refusal


@pytest.mark.parametrize("silent", [True, False])
def test_what_pydicom_warns_of_would_quote_it(tmp_path, silent):
    uid = STUDY.sop_uid(0).encode()
    (tmp_path / "x").write_bytes(CONTENT.replace(uid, b"Smith^John".ljust(len(uid), b"^")))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        if silent:
            silence_libraries()
        assert dcmread(tmp_path / "x").SOPInstanceUID.startswith("Smith")
    assert any("Smith" in str(each.message) for each in said) != silent


def test_files_that_differ_in_their_file_meta_alone_are_the_same(tmp_path):
    one, other = STUDY.instance(0), STUDY.instance(0)
    other.file_meta.SourceApplicationEntityTitle = "ANOTHER"
    for name, file in (("one", one), ("other", other)):
        (tmp_path / name).write_bytes(encoded(file))
    assert same_dataset(tmp_path / "one", tmp_path / "other")
    (tmp_path / "other").write_bytes(encoded(STUDY.instance(1)))
    assert not same_dataset(tmp_path / "one", tmp_path / "other")
