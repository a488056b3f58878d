"""How long a server is waited for, on a clock of the test's own, and what whoever waits reads."""

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from client_app.data import patience as patience_module
from client_app.data.patience import Patience, retry_after

FOR_EVER = "a server that takes its time with each try is waited for without an end"


def tried(seconds, *, retries=5, asked=None):
    """Tries of so many seconds until patience ends; how long it took, and what was told."""
    now, told = [0.0], []

    def sleep(wait):
        now[0] += wait

    patience = Patience("the archive", retries, told.append, sleep, lambda: now[0])
    sleep(seconds)
    while patience.again("HTTP status 503", asked):
        sleep(seconds)
    return now[0], [str(wait) for wait in told]


def test_a_server_that_refuses_at_once_is_given_half_a_minute():
    took, told = tried(0)
    assert took == 31
    assert told == [
        f"waiting for the archive (HTTP status 503): next try in {wait} s, {left}"
        for wait, left in (
            (1, "5 tries left"),
            (2, "4 tries left"),
            (4, "3 tries left"),
            (8, "2 tries left"),
            (16, "the last try"),
        )
    ]


@pytest.mark.attack(FOR_EVER, held_by="no try begins more than 90 s after the first")
@pytest.mark.parametrize("seconds", [1, 10, 30, 60])
def test_however_long_a_try_takes_it_ends_after_about_two_minutes(seconds):
    took, told = tried(seconds)
    assert took <= 125
    assert told[-1].endswith("the last try")


@pytest.mark.mutant(FOR_EVER, how="tries are counted alone")
def test_by_their_count_alone_six_tries_of_a_minute_are_six_minutes(monkeypatch):
    monkeypatch.setattr(patience_module, "_LATEST", math.inf)
    assert tried(60)[0] > 360


def test_a_server_that_says_how_long_to_wait_is_heeded():
    took, told = tried(0, asked=20.0)
    assert took == 80
    assert "next try in 20 s" in told[0]


def test_without_retries_there_is_one_try_and_nothing_to_tell():
    assert tried(3, retries=0) == (3, [])


@pytest.mark.parametrize(("value", "seconds"), [("7", 7), (" 0 ", 0), ("", None), ("soon", None)])
def test_what_a_header_says(value, seconds):
    assert retry_after(value) == seconds


def test_a_header_may_say_a_date():
    until = datetime.now(UTC) + timedelta(seconds=30)
    assert 28 < retry_after(format_datetime(until, usegmt=True)) <= 30
    assert retry_after(format_datetime(until - timedelta(days=1), usegmt=True)) == 0
