"""Values: dates move by whole days, ages are cut, texts are plain or go, codes are the standard's."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from client_app.data.deidentify import values
from client_app.data.refusal import Refused

BACK = timedelta(days=100)


@given(st.dates(min_value=date(4, 1, 1)), st.integers(30, 1095))
def test_any_date_moves_by_just_the_days(day, days):
    moved = values.shifted("DA", f"{day.year:04}{day.month:02}{day.day:02}", timedelta(days=days))
    assert date.fromisoformat(moved) == day - timedelta(days=days)


@pytest.mark.parametrize(
    ("vr", "text", "moved"),
    [
        *(("DA", "20200410", "20200101"), ("DA", "2020.04.10", "20200101"), ("DA", "18990410", "18981231")),
        *(("DT", "20200410", "20200101"), ("DT", "20200410235959.999999", "20200101235959.999999")),
        *(("DT", "202004101200+0545", "202001011200"), ("DA", "00100410", "00091231")),
    ],
)
def test_dates_of_every_form_keep_their_time_and_lose_their_zone(vr, text, moved):
    assert values.shifted(vr, text, BACK) == moved


@pytest.mark.parametrize("text", ["00010101", "20200230", "20201301", "2020", "202004", "1.4.2020"])
@pytest.mark.parametrize("vr", ["DA", "DT"])
def test_what_is_no_day_of_the_calendar_is_not_kept(vr, text):
    assert values.shifted(vr, text, BACK) is None


@given(st.text())
def test_no_text_makes_a_date_crash(text):
    for vr in ("DA", "DT"):
        values.shifted(vr, text, BACK)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        *(("089Y", "089Y"), ("090Y", "090Y"), ("095Y", "090Y"), ("006M", "006M"), ("999M", "999M")),
        *(("999W", "999W"), ("95Y", None), ("alt", None), ("", None)),
    ],
)
def test_ages_above_89_years_are_one(text, kept):
    assert values.age(text) == kept


@pytest.mark.parametrize("text", ["120", "-1.5e3", "+.5", "1."])
def test_numbers_stay_as_they_are_written(text):
    assert values.kept("DS", text) == text


@pytest.mark.parametrize("text", ["Müller", "12a", "NaN", "1 2", "1^2"])
def test_what_is_no_number_is_not_kept_as_one(text):
    assert values.kept("DS", text) is None


@pytest.mark.parametrize("text", ["CHEST", "ORIGINAL", "B30f", "syngo CT VA48A", "H-SP-CR", "1.2.3 (b)"])
def test_plain_words_of_machines_stay(text):
    assert values.plain(text) == text


@pytest.mark.parametrize("text", ["MUELLER^HANS", "Müller", "MRN 1234567", "a" * 65, "山田", "x=y", "a\nb"])
def test_texts_with_signs_of_names_or_long_numbers_do_not(text):
    assert values.plain(text) is None


@pytest.mark.parametrize("text", ["../../etc/passwd", "1.2/../3", "1.2.ä", "1." * 40, "1.2\0.3", "-1"])
def test_a_uid_that_could_be_a_path_is_refused(text, pseudonyms):
    with pytest.raises(Refused, match="UID") as refused:
        values.uid(text, pseudonyms)
    assert refused.value.rule == "uid"
    assert text not in str(refused.value)


def test_the_standards_own_uids_stay(pseudonyms):
    assert values.uid("1.2.840.10008.5.1.4.1.1.2", pseudonyms) == "1.2.840.10008.5.1.4.1.1.2"
    assert values.uid("1.2.840.10008.999", pseudonyms) == pseudonyms.uid("1.2.840.10008.999")


@pytest.mark.parametrize(
    ("value", "scheme", "meaning"),
    [
        *(("39607008", "SCT", "Lung"), ("T-28000", "SRT", "Lung"), ("113100", "DCM", "Basic Application")),
        *(("4711", "SCT", None), ("39607008", "99HAUS", None)),
    ],
)
def test_a_code_is_known_by_the_standard_or_not_at_all(value, scheme, meaning):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, "Lunge von Frau Wiegold"
    known = values.code(item)
    assert (known is None) if meaning is None else known.meaning.startswith(meaning)
