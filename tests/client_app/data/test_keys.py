"""Pseudonyms, UIDs and shifts of dates: the same for a patient wherever they come up, and of one key."""

import stat
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID

from client_app.data import keys as module
from client_app.data.keys import Pseudonyms, comparable
from federation.errors import ConfigError, DataError

NEW = "a patient who withdrew, or has spent, is new by a number that is written otherwise"
KEY, OTHER = Pseudonyms(bytes(range(32))), Pseudonyms(bytes(32))


def test_a_patient_is_one_pseudonym_in_every_run_and_another_at_every_site():
    assert KEY.patient("4711") == Pseudonyms(bytes(range(32))).patient("4711")
    assert KEY.patient("4711") != OTHER.patient("4711")
    assert len(KEY.patient("4711")) == 16
    assert int(KEY.patient("4711"), 16) >= 0


def test_padding_makes_no_other_patient():
    assert KEY.patient("4711 ") == KEY.patient("4711\0") == KEY.patient("4711")
    assert KEY.shift("4711 ") == KEY.shift("4711")


@pytest.mark.attack(NEW, held_by="pseudonyms are of numbers without case, spaces and zeros in front")
@pytest.mark.parametrize("written", ["004711-A", "4711-a", " 4711 -A", "\ufeff4711-A"])
def test_a_number_that_is_written_otherwise_makes_no_other_patient(written):
    assert KEY.patient(written) == KEY.patient("4711-A") != KEY.patient("4712-A")
    assert KEY.shift(written) == KEY.shift("4711-A")


@pytest.mark.mutant(NEW, how="pseudonyms are of numbers as they are")
def test_of_a_number_as_it_is_the_pseudonym_is_another(monkeypatch):
    monkeypatch.setattr(module, "comparable", str)
    assert KEY.patient("004711-A") != KEY.patient("4711-A")


@pytest.mark.parametrize(
    ("number", "plain"), [("000", "0"), ("0", "0"), ("", ""), ("0a", "a"), ("00 1", "1")]
)
def test_a_number_of_zeros_is_not_nobodys(number, plain):
    assert comparable(number) == plain


@given(st.text())
def test_every_uid_becomes_a_valid_one(uid):
    new = UID(KEY.uid(uid))
    assert new.is_valid
    assert new != OTHER.uid(uid)


@given(st.text())
def test_a_patients_dates_all_go_back_by_the_same_whole_days(patient):
    shift = KEY.shift(patient)
    assert shift == timedelta(days=shift.days)
    assert 30 <= shift.days <= 1095
    assert KEY.shift(patient) == shift


def test_shifts_differ_between_patients_and_use_their_whole_range():
    days = {KEY.shift(str(patient)).days for patient in range(20_000)}
    assert days == set(range(30, 1096))


def test_the_key_is_made_once_for_its_owner_alone_and_stays(tmp_path):
    file = tmp_path / "keys/pseudonyms"
    first = Pseudonyms.kept_at(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert Pseudonyms.kept_at(file).key == first.key


@pytest.mark.parametrize("content", [b"", b"short", bytes(33)])
def test_what_is_no_key_is_named_and_left_alone(tmp_path, content):
    file = tmp_path / "key"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(DataError, match="32"):
        Pseudonyms.kept_at(file)
    assert file.read_bytes() == content


def test_a_key_that_others_may_read_is_refused(tmp_path):
    file = tmp_path / "key"
    Pseudonyms.kept_at(file)
    file.chmod(0o640)
    with pytest.raises(DataError, match="0640"):
        Pseudonyms.kept_at(file)


def test_a_short_key_is_no_key():
    with pytest.raises(ConfigError, match="32"):
        Pseudonyms(b"secret")


def test_a_key_shows_nothing_of_itself():
    assert repr(KEY.key)[2:10] not in repr(KEY)
