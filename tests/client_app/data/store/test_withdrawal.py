import sqlite3
from datetime import datetime, timedelta, timezone

import pytest

from client_app.data.keys import Pseudonyms
from client_app.data.refusal import Refused
from client_app.data.store.verify import verify
from client_app.data.store.writer import StoreWriter, _bury
from federation.errors import DataError
from federation.site_store import MANIFEST, Standing, open_store, standing
from tests.client_app.data.store.conftest import arrays, patient, volume


def test_who_withdraws_leaves_no_array_and_no_facts(writer, folder, put):
    put(writer, 1, note="lobectomy " * 1000)
    put(writer, 2, whose=1)
    put(writer, 3)
    assert writer.withdraw(patient(1), "opt-out") == 2
    assert [each.patient for each in open_store(folder).series] == [patient(3)]
    assert arrays(folder) == [open_store(folder).series[0].digest]
    with sqlite3.connect(folder / MANIFEST) as rows:
        tombstones = rows.execute(
            "SELECT patient, reason, facts, features, provenance FROM series WHERE withdrawn IS NOT NULL"
        ).fetchall()
    assert tombstones == [(patient(1), "opt-out", "{}", "{}", "{}")] * 2
    assert verify(folder) == ()


def test_whatever_was_taken_out_is_counted_be_it_back_again(writer, folder, put):
    put(writer, 1)
    put(writer, 2, whose=1)
    put(writer, 3)
    assert standing(folder).taken_out == 0
    writer.retract("2.25.1", "no-longer-wanted")
    put(writer, 1)
    assert standing(folder).taken_out == 1
    writer.withdraw(patient(1), "opt-out")
    assert standing(folder).taken_out == 3


def test_where_there_is_no_store_nobody_was_asked_for(tmp_path):
    assert standing(tmp_path) == Standing()


def test_a_store_knows_when_consent_was_last_asked_for(writer, folder):
    times = [datetime(2026, 1, day, 12, tzinfo=timezone(timedelta(hours=2))) for day in (3, 2)]
    for time in times:
        writer.consent_asked(time)
        assert standing(folder).asked == time


TWICE = "a new key makes everybody a new patient, with a whole budget"


@pytest.mark.attack(TWICE, held_by="the store belongs to the key that it was first filled with")
def test_a_store_is_filled_with_one_key_of_pseudonyms(writer, folder):
    key, other = Pseudonyms(bytes(32)), Pseudonyms(bytes(31) + b"1")
    for _ in range(2):
        writer.belong_to(key.owner)
    with StoreWriter(folder) as again, pytest.raises(DataError, match="another key of pseudonyms"):
        again.belong_to(other.owner)
    assert key.key.hex() not in (key.owner, other.owner)


@pytest.mark.mutant(TWICE, how="the store asks for no key")
def test_without_that_one_person_is_in_it_twice(writer, folder, put):
    for number, key in enumerate((bytes(32), bytes(31) + b"1")):
        writer.add(
            volume(number),
            patient=Pseudonyms(key).patient("4711"),
            series=f"2.25.{number}",
            features={},
            provenance={},
        )
    assert len({each.patient for each in open_store(folder).series}) == 2


BACK = "who withdrew comes back with the next ingest"


@pytest.mark.attack(BACK, held_by="the store keeps who withdrew, known to it or not")
def test_who_withdrew_does_not_come_back(writer, put):
    put(writer, 1)
    for whose in (1, 2):
        writer.withdraw(patient(whose), "opt-out")
        with pytest.raises(Refused) as refused:
            put(writer, 10 + whose, whose=whose)
        assert refused.value.rule == "withdrawn"


@pytest.mark.mutant(BACK, how="only the series that were there are marked")
def test_marking_series_alone_lets_the_patient_back_in(writer, put):
    put(writer, 1)
    with writer._manifest.writing() as rows:
        _bury(rows, "patient", patient(1), "opt-out")
    assert put(writer, 11, whose=1)


def remains(folder, word):
    return any(word in path.read_bytes() for path in folder.rglob("*") if path.is_file())


ERASED = "facts of somebody who withdrew are read from free pages of the manifest"


@pytest.mark.attack(ERASED, held_by="secure_delete")
def test_what_was_known_of_who_withdrew_is_in_no_byte_of_the_store(writer, folder, put):
    put(writer, 1, note="lobectomy " * 1000)
    assert remains(folder, b"lobectomy")
    writer.withdraw(patient(1), "opt-out")
    assert not remains(folder, b"lobectomy")


@pytest.mark.mutant(ERASED, how="secure_delete is off")
def test_without_secure_delete_it_is(writer, folder, put):
    writer._manifest._connection.execute("PRAGMA secure_delete=OFF")
    put(writer, 1, note="lobectomy " * 1000)
    writer.withdraw(patient(1), "opt-out")
    assert remains(folder, b"lobectomy")


def test_of_who_withdrew_nothing_is_read_from_a_version_that_was_opened_before(writer, folder, put):
    put(writer, 1)
    opened = open_store(folder)
    writer.withdraw(patient(1), "opt-out")
    with pytest.raises(DataError, match="withdrew since"):
        opened.array(opened.series[0])
