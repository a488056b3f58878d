"""The verifier knows no table: it is given an original and what somebody made of it."""

import io
from datetime import timedelta

import pytest
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from client_app.data.deidentify import forms, profile, verifier
from client_app.data.deidentify.profile import deidentify, written
from client_app.data.deidentify.verifier import verify
from client_app.data.refusal import Refused

BACK = timedelta(days=100)
LEFT = "an identifier that a mistake left"
AS_NUMBER = "a patient's number among the numbers of a machine, written otherwise"
IN_ASCII = "a name without its accents"
ACCENTED = {"SpecificCharacterSet": "ISO_IR 192", "PatientName": "Müßiggang^Änne"}


@pytest.fixture
def clean(ct, pseudonyms, monkeypatch):
    """A file that passes, before it says that it is de-identified."""
    monkeypatch.setattr(profile, "_say_so", lambda _: None)
    return deidentify(ct(), pseudonyms)


def found(original, result, back=BACK):
    """By which rule, and what the refusal says."""
    with pytest.raises(Refused) as refused:
        verify(original, written(result), back)
    return refused.value.rule, str(refused.value)


def test_what_is_clean_passes(ct, clean, pseudonyms):
    verify(ct(), written(clean), pseudonyms.shift(ct().PatientID))


LEAVINGS = {
    "a surname in small letters": ("SoftwareVersions", "zimmerquist"),
    "a first name in a longer word": ("SoftwareVersions", "v1Hedwigav2"),
    "a mother's name": ("ImageComments", "TANNHUBER"),
    "an accession number": ("StudyID", "ACC7719203"),
    "a patient's number without its letters": ("ImageComments", "see 731902"),
    "a date": ("ImageComments", "on 19320417."),
    "a date as a time": ("AcquisitionDateTime", "20190315235959"),
    "a UID": ("FrameOfReferenceUID", "1.2.276.0.7230010.3.1.4.50001"),
    "an institution": ("InstitutionName", "Spital Mariengrund"),
    "a title of an application": ("SoftwareVersions", "AE_SENDERLING"),
    "a text of a private attribute": ("SoftwareVersions", "privat: Auerswald"),
    "a text of a nested private attribute": ("SoftwareVersions", "verschachtelt: Ebersbacher"),
    "raw bytes of an unknown attribute": ("SoftwareVersions", "roh: Bechstein"),
}


@pytest.mark.attack(LEFT, held_by="a search for every value of the original")
@pytest.mark.parametrize("what", LEAVINGS)
def test_what_is_left_is_found_and_not_repeated(what, ct, clean):
    keyword, text = LEAVINGS[what]
    setattr(clean, keyword, text)
    rule, said = found(ct(), clean)
    assert rule == "identifier-left"
    assert not any(word.casefold() in said.casefold() for word in text.split())


@pytest.mark.mutant(LEFT, how="it looks for nothing")
@pytest.mark.parametrize("what", LEAVINGS)
def test_a_verifier_that_looks_for_nothing_lets_it_pass(what, ct, clean, monkeypatch):
    keyword, text = LEAVINGS[what]
    setattr(clean, keyword, text)
    monkeypatch.setattr(verifier, "identifiers", lambda _: ())
    verify(ct(), written(clean), BACK)


def test_what_is_left_in_a_sequence_is_found(ct, clean):
    item = Dataset()
    item.SoftwareVersions = "Zimmerquist"
    clean.ReferencedImageSequence = Sequence([item])
    assert found(ct(), clean)[0] == "identifier-left"


def test_a_date_that_is_another_one_moved_is_no_finding(ct, clean):
    original = ct(StudyDate="20190318", ContentDate="20181208")
    for keyword in ("SeriesDate", "AcquisitionDate", "AcquisitionDateTime", "AdmittingDate"):
        delattr(clean, keyword)
    clean.StudyDate, clean.ContentDate = "20181208", "20180830"  # each 100 days earlier
    clean.PerformedProcedureStepStartDate = ""
    verify(original, written(clean), BACK)


@pytest.mark.parametrize("charset", ["ISO_IR 100", "ISO_IR 192"])
def test_names_in_other_letters_are_found_in_any_case_and_encoding(charset, ct, clean):
    original = ct(SpecificCharacterSet="ISO_IR 192", PatientName="Müßiggang^Änne")
    clean.SpecificCharacterSet = charset
    clean.SoftwareVersions = "MÜßIGGANG"
    assert found(original, clean)[0] in ("identifier-left", "not-clean")


WRITTEN_OTHERWISE = {
    "a float": ("TableSpeed", 19283746.0),
    "four bytes": ("SimpleFrameList", 19283746),
    "a decimal point": ("KVP", "19283746.0"),
    "a power of ten": ("KVP", "1.9283746E7"),
}


@pytest.mark.attack(AS_NUMBER, held_by="numbers are compared as numbers")
@pytest.mark.parametrize("patient", ["19283746", "0019283746", "MRN19283746"])
@pytest.mark.parametrize("how", WRITTEN_OTHERWISE)
def test_a_patients_number_is_found_however_a_number_is_written(how, patient, ct, pseudonyms):
    keyword, value = WRITTEN_OTHERWISE[how]
    with pytest.raises(Refused) as refused:
        deidentify(ct(PatientID=patient, **{keyword: value}), pseudonyms)
    assert refused.value.rule == "identifier-left"


@pytest.mark.mutant(AS_NUMBER, how="only digits are looked for")
@pytest.mark.parametrize("how", WRITTEN_OTHERWISE)
def test_digits_are_not_all_that_a_number_is(how, ct, pseudonyms, monkeypatch):
    monkeypatch.setattr(verifier, "_is_number", lambda *_: False)
    keyword, value = WRITTEN_OTHERWISE[how]
    assert deidentify(ct(PatientID="19283746", **{keyword: value}), pseudonyms)[keyword].value


def test_a_birthday_in_four_bytes_is_found(ct, pseudonyms):
    with pytest.raises(Refused, match="a date of attribute"):
        deidentify(ct(PatientBirthDate="19560312", SimpleFrameList=19560312), pseudonyms)


@pytest.mark.attack(IN_ASCII, held_by="names are looked for as those write them who have ASCII alone")
@pytest.mark.parametrize("spelt", ["MUESSIGGANG", "Mussiggang", "MUSSIGGANG AENNE"])
def test_a_name_without_its_accents_is_found(spelt, ct, pseudonyms):
    with pytest.raises(Refused) as refused:
        deidentify(ct(**ACCENTED, SequenceName=spelt), pseudonyms)
    assert refused.value.rule == "identifier-left"


@pytest.mark.mutant(IN_ASCII, how="they are looked for as they are written")
def test_a_name_without_its_accents_is_another_text(ct, pseudonyms, monkeypatch):
    monkeypatch.setattr(forms, "_in_ascii", lambda _: ())
    assert deidentify(ct(**ACCENTED, SequenceName="MUESSIGGANG"), pseudonyms).SequenceName == "MUESSIGGANG"


def test_a_name_that_is_a_word_of_the_standard_does_not_hold_a_file_up(ct, through):
    assert through(ct(PatientName="Chest^Primary")).BodyPartExamined == "CHEST"


def test_an_operator_who_is_called_as_the_maker_does_not_either(ct, through):
    clean = through(ct(OperatorsName="Phantoms^Service", RequestedProcedureID="CHEST"))
    assert clean.Manufacturer == "Wardround Phantoms"


def test_a_patient_who_is_called_as_the_maker_does(ct, pseudonyms):
    with pytest.raises(Refused) as refused:
        deidentify(ct(PatientName="Phantoms^Hedwig"), pseudonyms)
    assert refused.value.rule == "identifier-left"


def test_a_name_in_a_code_string_does(ct, pseudonyms):
    with pytest.raises(Refused) as refused:
        deidentify(ct(ImageType=["ORIGINAL", "PRIMARY", "ZIMMERQUIST"]), pseudonyms)
    assert refused.value.rule == "identifier-left"


def test_a_short_number_of_a_patient_is_no_finding_in_every_count(ct, through):
    assert through(ct(PatientID="1", InstanceNumber="1", StudyID="1")).InstanceNumber == 1


def _of_overlay(clean):
    clean.add_new(0x60000010, "US", 1)


def _of_curve(clean):
    clean.add_new(0x50000005, "US", 1)


def _private(clean):
    clean.private_block(0x0011, "X", create=True).add_new(1, "US", 1)


def _unknown(clean):
    clean.add_new(0x00089999, "UN", b"x ")


def _report(clean):
    clean.ContentSequence = Sequence([Dataset()])


def _other_letters(clean):
    clean.SpecificCharacterSet, clean.SoftwareVersions = "ISO_IR 192", "λόγος"


def _behind(clean):
    clean.PixelData = clean.PixelData + b"ab"


def _bits(clean):
    clean.PixelData = b"\xff" + clean.PixelData[1:-1] + b"\xff"


def _title(clean):
    clean.file_meta.SourceApplicationEntityTitle = "X"


def _said(clean):
    clean.PatientIdentityRemoved = "YES"


@pytest.mark.parametrize(
    "spoil",
    [
        *(_of_overlay, _of_curve, _private, _unknown, _report, _other_letters),
        *(_behind, _bits, _title, _said),
    ],
)
def test_what_has_no_place_in_a_clean_file_is_found(spoil, ct, clean):
    spoil(clean)
    assert found(ct(), clean)[0] == "not-clean"


def test_another_instance_in_the_file_meta_information_is_found(ct, clean):
    content = written(clean)
    other = content.replace(clean.SOPInstanceUID.encode(), b"2.25.7" + clean.SOPInstanceUID.encode()[6:], 1)
    with pytest.raises(Refused, match="another SOP instance"):
        verify(ct(), other, BACK)


def test_a_preamble_with_something_in_it_is_found(ct, clean):
    content = b"II*\0".ljust(128, b"\0") + written(clean)[128:]
    with pytest.raises(Refused, match="preamble"):
        verify(ct(), content, BACK)


def test_what_cannot_be_read_does_not_pass(ct):
    with pytest.raises(Refused):
        verify(ct(), bytes(128) + b"DICM" + b"\x08\0\x05\0LO\xff\xff", BACK)


def test_a_file_that_was_written_by_the_same_software_is_no_finding(ct, through):
    buffer = io.BytesIO()
    dcmwrite(buffer, ct(), enforce_file_format=True)
    buffer.seek(0)
    assert through(dcmread(buffer)).PatientIdentityRemoved == "YES"
