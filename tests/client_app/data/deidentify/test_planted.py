"""A hundred identifiers planted in a file: none is left, by a search in its bytes that is the tests' own."""

import io
from datetime import date, timedelta

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.datadict import keyword_for_tag
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from benchmarks.planted_files import META, STANDARD, planted_ct
from client_app.data.deidentify import cleaning, profile, rules, values
from client_app.data.deidentify.profile import deidentify, written
from client_app.data.deidentify.rules import Action, Decision
from client_app.data.keys import Pseudonyms
from client_app.data.refusal import Refused

LEFT = "an identifier anywhere in a file"
EARLY = "a file said to be de-identified before anybody looked"
INTERVALS = "a patient's dates that tell by their intervals, or not even that"
LINKS = "UIDs that anybody can compute"


def left(written, planted):
    return {each.place for each in planted if each.left_in(written)}


def test_the_files_have_at_least_a_hundred_and_each_is_found_where_it_was_planted():
    content, planted = planted_ct()
    assert len(planted) >= 100
    assert all(each.left_in(content) for each in planted)
    assert len({each.text for each in planted}) == len(planted)


@pytest.mark.attack(LEFT, held_by="Table E.1-1, and removing all that is not in it")
def test_none_of_them_is_left(ct, pseudonyms):
    content, planted = planted_ct()
    assert left(written(deidentify(ct(), pseudonyms)), planted) == set()
    assert left(content, planted)


def test_the_original_stays_as_it_was(ct, pseudonyms):
    dataset = ct()
    deidentify(dataset, pseudonyms)
    assert dataset == ct()
    assert dataset.file_meta == ct().file_meta


@pytest.fixture
def blind(monkeypatch):
    """A verifier that finds nothing."""
    monkeypatch.setattr(profile, "verify", lambda *_: None)


@pytest.fixture
def keeping(monkeypatch):
    """``keeping("PatientName")``: a table whose row for it says keep, whatever the value."""

    def keep(*keywords):
        monkeypatch.setattr(cleaning, "decide", lambda tag: _kept(tag, keywords) or rules.decide(tag))
        monkeypatch.setattr(values, "kept", lambda vr, text: text)

    return keep


def _kept(tag, keywords):
    if keyword_for_tag(tag) in keywords:
        return Decision(Action.KEEP, "a mistake")
    return None


@pytest.mark.mutant(LEFT, how="a row of the table is wrong")
@pytest.mark.parametrize("keyword", sorted(STANDARD))
def test_the_verifier_refuses_what_a_wrong_row_leaves(keyword, ct, pseudonyms, keeping):
    keeping(keyword)
    with pytest.raises(Refused) as refused:
        deidentify(ct(), pseudonyms)
    assert refused.value.rule in ("identifier-left", "not-clean")
    assert STANDARD[keyword] not in str(refused.value)


@pytest.mark.mutant(LEFT, how="a row is wrong and the verifier blind")
@pytest.mark.parametrize("keyword", ["PatientName", "PatientBirthDate", "AccessionNumber", "ImageComments"])
def test_with_a_blind_verifier_the_search_in_bytes_finds_it(keyword, ct, pseudonyms, keeping, blind):
    keeping(keyword)
    assert keyword in left(written(deidentify(ct(), pseudonyms)), planted_ct()[1])


@pytest.mark.mutant(LEFT, how="a row of the table is missing and the verifier blind")
def test_a_missing_row_of_a_date_of_birth_is_noticed(ct, through, blind, monkeypatch):
    row_of = rules.row_of
    monkeypatch.setattr(rules, "row_of", lambda tag: None if tag == 0x00100030 else row_of(tag))
    assert through(ct()).PatientBirthDate != ""  # shifted, where the Basic Profile asks for nothing at all
    monkeypatch.setattr(rules, "row_of", row_of)
    assert through(ct()).PatientBirthDate == ""


@pytest.mark.parametrize("keyword", sorted(STANDARD))
def test_where_any_row_were_missing_nothing_would_be_left_either(keyword, ct, pseudonyms, monkeypatch):
    row_of = rules.row_of
    tag = Tag(keyword)
    monkeypatch.setattr(rules, "row_of", lambda each: None if each == tag else row_of(each))
    assert left(written(deidentify(ct(), pseudonyms)), planted_ct()[1]) == set()


@pytest.fixture
def not_gone_through(monkeypatch):
    """Sequences are taken over as they are."""
    cleaned = cleaning.Cleaning.cleaned
    monkeypatch.setattr(
        cleaning.Cleaning, "cleaned", lambda self, item, above=(): item if above else cleaned(self, item)
    )


@pytest.mark.mutant(LEFT, how="sequences are not gone through")
def test_the_verifier_refuses_sequences_as_they_were(ct, pseudonyms, not_gone_through):
    with pytest.raises(Refused):
        deidentify(ct(), pseudonyms)


@pytest.mark.mutant(LEFT, how="sequences are not gone through and the verifier blind")
def test_with_a_blind_verifier_the_search_finds_what_sequences_had(ct, pseudonyms, not_gone_through, blind):
    assert "in a sequence" in left(written(deidentify(ct(), pseudonyms)), planted_ct()[1])


@pytest.mark.mutant(LEFT, how="bits that are not stored are not cleared")
def test_an_overlay_in_unused_bits_is_found(ct, pseudonyms, monkeypatch):
    monkeypatch.setattr(profile, "clean_pixels", lambda *_, **__: None)
    with pytest.raises(Refused) as refused:  # by what lies behind the pixels
        deidentify(ct(), pseudonyms)
    assert refused.value.rule == "not-clean"
    monkeypatch.setattr(profile, "verify", lambda *_: None)
    assert "unused bits of pixels" in left(written(deidentify(ct(), pseudonyms)), planted_ct()[1])


@pytest.mark.attack(EARLY, held_by="the verifier refuses what says so already")
def test_only_what_passed_the_verifier_says_that_it_is_de_identified(ct, through):
    clean = through(ct())
    assert clean.PatientIdentityRemoved == "YES"
    codes = [item.CodeValue for item in clean.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113107", "113108"]
    assert clean.LongitudinalTemporalInformationModified == "MODIFIED"
    assert "2026c" in clean.DeidentificationMethod


@pytest.mark.mutant(EARLY, how="it is said before the verifier")
def test_a_file_that_says_so_too_early_is_refused(ct, pseudonyms, monkeypatch):
    file_of = profile._file

    def early(*arguments):
        clean = file_of(*arguments)
        profile._say_so(clean)
        return clean

    monkeypatch.setattr(profile, "_file", early)
    with pytest.raises(Refused, match="before anybody had looked"):
        deidentify(ct(), pseudonyms)


def test_what_the_source_says_of_its_own_de_identification_is_not_believed(ct, through):
    dataset = ct(PatientIdentityRemoved="YES", DeidentificationMethod="von Hand durch Frau Wiegold")
    assert "Wiegold" not in through(dataset).DeidentificationMethod


@pytest.mark.attack(INTERVALS, held_by="one shift for a patient, of whole days")
def test_intervals_between_a_patients_files_are_kept_and_times_too(ct, through):
    first, second = through(ct(StudyDate="19991231")), through(ct(StudyDate="20000229", number=1))
    assert date.fromisoformat(second.StudyDate) - date.fromisoformat(first.StudyDate) == timedelta(days=60)
    assert first.StudyTime == "101530"
    assert first.StudyDate != "19991231"


@pytest.mark.mutant(INTERVALS, how="a shift of its own for each file")
def test_a_shift_that_is_not_constant_is_noticed(ct, through, monkeypatch):
    days = iter(range(100, 200))
    monkeypatch.setattr(Pseudonyms, "shift", lambda *_: timedelta(days=next(days)))
    monkeypatch.setattr(profile, "verify", lambda *_: None)
    first, second = through(ct(StudyDate="19991231")), through(ct(StudyDate="20000229", number=1))
    assert date.fromisoformat(second.StudyDate) - date.fromisoformat(first.StudyDate) != timedelta(days=60)


def test_uids_and_references_agree_across_files_and_runs(ct, through):
    referred = "1.2.276.0.7230010.3.1.4.60001"
    first = through(ct())
    second = through(ct(number=1, SOPInstanceUID=referred))
    assert first.ReferencedImageSequence[0].ReferencedSOPInstanceUID == second.SOPInstanceUID
    assert first.StudyInstanceUID == second.StudyInstanceUID
    assert first.FrameOfReferenceUID == second.FrameOfReferenceUID
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert second.file_meta.MediaStorageSOPInstanceUID == second.SOPInstanceUID
    assert written(through(ct())) == written(first)


@pytest.mark.attack(LINKS, held_by="HMAC with the site's key")
def test_another_site_has_other_uids(ct):
    assert _uids(ct, Pseudonyms(bytes(32))).isdisjoint(_uids(ct, Pseudonyms(bytes(range(32)))))


@pytest.mark.mutant(LINKS, how="UIDs are hashed without the key")
def test_uids_without_the_key_are_noticed(ct, monkeypatch):
    keyed = Pseudonyms.uid
    monkeypatch.setattr(Pseudonyms, "uid", lambda self, uid: keyed(Pseudonyms(bytes(32)), uid))
    assert not _uids(ct, Pseudonyms(bytes(32))).isdisjoint(_uids(ct, Pseudonyms(bytes(range(32)))))


def _uids(ct, pseudonyms):
    clean = deidentify(ct(), pseudonyms)
    return {clean.SOPInstanceUID, clean.StudyInstanceUID, clean.SeriesInstanceUID, clean.FrameOfReferenceUID}


def test_what_a_study_needs_is_kept(ct, through):
    clean = through(ct(PatientWeight="61.5", PatientAge="094Y"))
    assert (clean.PatientSex, clean.PatientAge, clean.PatientWeight) == ("F", "090Y", 61.5)
    assert (clean.Manufacturer, clean.ConvolutionKernel) == ("Wardround Phantoms", "B30f")
    assert list(clean.PixelSpacing) == [0.7, 0.7]
    assert clean.AnatomicRegionSequence[0].CodeMeaning.startswith("Thora")
    pixels = np.frombuffer(ct().PixelData, "<u2")[: 256 * 256].reshape(256, 256)
    assert (clean.pixel_array == pixels & 0x0FFF).all()
    assert (pixels > 0x0FFF).any()


def test_the_file_meta_information_says_which_file_it_is_and_no_more(ct, pseudonyms):
    content = written(deidentify(ct(), pseudonyms))
    meta = dcmread(io.BytesIO(content)).file_meta
    assert not any(keyword in meta for keyword in META)
    assert content[:128] == bytes(128)


def test_an_empty_sequence_is_no_place_for_items(ct, through):
    clean = through(ct(PersonIdentificationCodeSequence=Sequence(ct().ProcedureCodeSequence)))
    assert len(clean.PersonIdentificationCodeSequence) == 0
