from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_app.data.fhir.dates import When, when


def days(earliest, latest):
    return When(date.fromisoformat(earliest), date.fromisoformat(latest))


@pytest.mark.parametrize(
    ("text", "earliest", "latest"),
    [
        ("2020", "2020-01-01", "2020-12-31"),
        ("2020-02", "2020-02-01", "2020-02-29"),
        ("2020-05-17", "2020-05-17", "2020-05-17"),
        ("1871-01-18", "1871-01-18", "1871-01-18"),
        ("0001", "0001-01-01", "0001-12-31"),
        ("2020-05-17T23:59:59.999+14:00", "2020-05-17", "2020-05-17"),
        ("2020-05-17T23:59Z", "2020-05-17", "2020-05-17"),
        ("9999-12", "9999-12-01", "9999-12-31"),
    ],
)
def test_a_date_is_all_days_that_it_may_be(text, earliest, latest):
    assert when(text) == days(earliest, latest)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "20",
        "2020-13",
        "2020-02-30",
        "0000",
        "2020-5",
        "17.05.2020",
        "2020-05-17T",
        "٢٠٢٠",
        2020,
        None,
        [],
    ],
)
def test_what_is_no_date_is_none(text):
    with pytest.raises(ValueError, match=r"no date of FHIR|month|day|year"):
        when(text)


def test_an_age_of_a_partial_date_is_a_range():
    assert when("2020-05-17").years_after(when("1950")) == (69, 70)
    assert when("2020-05-17").years_after(when("1950-05-18")) == (69, 69)
    assert when("2020-05-17").years_after(when("1871-05-17")) == (149, 149)


def test_a_birthday_on_the_29th_of_february_is_reached_on_the_1st_of_march():
    assert when("2021-02-28").years_after(when("2000-02-29")) == (20, 20)
    assert when("2021-03-01").years_after(when("2000-02-29")) == (21, 21)


moments = st.dates().flatmap(lambda day: st.sampled_from([day.isoformat()[:length] for length in (4, 7, 10)]))


@given(moments, moments)
def test_distances_hold_whichever_days_are_meant(one, other):
    first, second = when(one), when(other)
    fewest, most = first.days_after(second)
    for day in (first.earliest, first.latest):
        for base in (second.earliest, second.latest):
            assert fewest <= (day - base).days <= most
            assert abs((day - base).days) <= first.distance(second)


def test_no_date_shows_in_a_repr():
    assert "2020" not in repr(when("2020-05-17"))
