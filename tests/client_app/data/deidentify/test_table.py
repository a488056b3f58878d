"""The table is the published one: every row is an attribute, and its codes are the standard's."""

import re

import pytest
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
from pydicom.tag import Tag

from client_app.data.deidentify import rules, table
from client_app.data.deidentify.rules import Action, decide

CODES = {"X", "Z", "D", "U", "X/Z", "X/D", "X/Z/D", "Z/D", "X/Z/U*"}
# Attributes of 2024 and later, which pydicom's dictionary does not have yet; they are all removed.
NEWER = re.compile(r"000813|0010001|0010004[1-7]|00102162|0040A03[45]|0040B03|0040E012")


def rows():
    return list(table.rows().values())


def test_it_has_all_rows_of_the_edition_that_it_names():
    assert len(rows()) == 655
    assert "2026c" in table.EDITION


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.tag)
def test_every_row_is_an_attribute_of_the_standard_with_the_standards_codes(row):
    assert row.basic in CODES
    assert row.dates in ("", "C")
    assert row.patient in ("", "K", "C")
    if "x" in row.tag:
        return
    tag = Tag(int(row.tag, 16))
    if dictionary_has_tag(tag):
        assert keyword_for_tag(tag) == row.keyword
    else:
        assert NEWER.match(row.tag)
        assert decide(tag).action is Action.REMOVE


def test_the_column_of_modified_dates_is_of_dates_times_and_zones():
    dated = {dictionary_VR(int(row.tag, 16)) for row in rows() if row.dates and not NEWER.match(row.tag)}
    assert dated == {"DA", "DT", "TM", "SH", "OB"}


def test_nothing_in_the_table_is_kept_but_what_an_option_names():
    kept = {row.keyword for row in rows() if not NEWER.match(row.tag) and "x" not in row.tag}
    kept = {name for name in kept if decide(Tag(name)).action is Action.KEEP}
    patient = {"PatientAge", "PatientSex", "PatientSize", "PatientWeight", "PatientSexNeutered"}
    patient |= {"SmokingStatus", "PregnancyStatus", "SelectorASValue", "SelectorTMValue"}
    assert {name for name in kept if not re.search(r"Time", name)} == patient


@pytest.mark.parametrize(
    ("keyword", "action"),
    [
        *(("PatientName", Action.PSEUDONYM), ("PatientBirthDate", Action.EMPTY)),
        *(("AccessionNumber", Action.EMPTY), ("StudyDate", Action.SHIFT), ("StudyTime", Action.KEEP)),
        *(("StudyInstanceUID", Action.UID), ("SeriesDescription", Action.REMOVE)),
        *(("ReferencedImageSequence", Action.CLEAN), ("OtherPatientIDsSequence", Action.REMOVE)),
        *(("StationName", Action.DUMMY), ("EthnicGroup", Action.REMOVE)),
    ],
)
def test_what_is_done_is_what_the_table_says(keyword, action):
    assert decide(Tag(keyword)).action is action


@pytest.mark.parametrize(
    ("tag", "action"),
    [
        *((0x00091001, Action.REMOVE), (0x60003000, Action.REMOVE), (0x601E1500, Action.REMOVE)),
        *((0x50003000, Action.REMOVE), (0x00089999, Action.REMOVE), (0x00080000, Action.REMOVE)),
        *((0x00080070, Action.KEEP), (0x00081115, Action.CLEAN), (0x00281050, Action.KEEP)),
        *((0x0040A160, Action.REMOVE), (0x00282000, Action.REMOVE), (0x00081167, Action.UID)),
    ],
)
def test_what_is_not_in_the_table_has_a_rule_of_its_own(tag, action):
    assert decide(Tag(tag)).action is action


def test_every_attribute_of_the_standard_is_decided_with_a_reason():
    from pydicom._dicom_dict import DicomDictionary  # noqa: PLC0415

    assert all(decide(Tag(tag)).reason for tag in DicomDictionary)


@pytest.mark.attack("a text in an attribute that nobody thought of", held_by="what is not listed is removed")
def test_of_texts_outside_the_table_only_makers_words_stay():
    assert _texts_kept() <= rules.KEPT_TEXTS


@pytest.mark.mutant("a text in an attribute that nobody thought of", how="unlisted texts are kept")
def test_a_rule_that_keeps_unlisted_texts_is_noticed(monkeypatch):
    monkeypatch.setattr(rules, "_NUMBERS", rules._NUMBERS | {"LO"})
    assert not _texts_kept() <= rules.KEPT_TEXTS


def _texts_kept():
    from pydicom._dicom_dict import DicomDictionary  # noqa: PLC0415

    texts = {"PN", "LO", "SH", "LT", "ST", "UT", "UC", "AE", "UR"}
    tags = (Tag(tag) for tag, entry in DicomDictionary.items() if entry[0] in texts)
    return {keyword_for_tag(tag) for tag in tags if decide(tag).action is Action.KEEP}
