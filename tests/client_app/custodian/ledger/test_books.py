"""The ledger as an auditor reads it."""

import os
from collections import Counter
from datetime import datetime

import pytest

from client_app.custodian.ledger.books import Membership, read_books
from client_app.custodian.ledger.cost import Cost
from client_app.custodian.ledger.database import ReadOnlyDatabase
from federation.errors import LedgerError, StorageError

PEOPLE = ["ada", "bea", "cleo"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def filled(ledger, studies, start, charge, path):
    """Two studies, of which one has ended; somebody left after the first charge."""
    start(studies[0], PEOPLE)
    charge(studies[0], 1)
    ledger.consent.withdraw(["bea"])
    charge(studies[0], 2)
    ledger.budget.end(studies[0])
    start(studies[1], ["ada", "dora"])
    charge(studies[1], 1)
    return ledger


def test_reservations_tell_how_many_they_are_for_and_how_many_left(filled, studies, path):
    first, second = sorted(read_books(path).reservations, key=lambda each: studies.index(each.study))
    assert (first.patients, first.left, first.ended is None) == (3, 1, False)
    assert (second.patients, second.left, second.ended) == (2, 0, None)
    assert isinstance(first.started, datetime)
    assert first.plan == Cost(10, 1.0, 10.0, 10.0)


def test_histories_are_those_of_the_budget(filled, path):
    books = read_books(path)
    counted = Counter()
    for memberships, count in books.patients.items():
        counted[tuple(sorted(map(repr, books.history(memberships))))] += count
    assert counted == Counter(tuple(sorted(map(repr, each))) for each in filled.budget.histories().values())


def test_nobody_is_in_the_books_by_a_name(filled, path):
    told = repr(read_books(path))
    assert not [name for name in [*PEOPLE, "dora"] if f"'{name}'" in told]


def test_who_withdrew_without_a_study_is_counted_too(filled, path):
    filled.consent.withdraw(["somebody else"])
    assert read_books(path).withdrawn == 2
    assert sum(read_books(path).patients.values()) == 4


def test_a_membership_ends_before_its_charge(filled, studies, path):
    books = read_books(path)
    gone = Membership(studies[0], "train", 2)
    assert [charge.number for charge in books.charges if gone.bears(charge)] == [1]
    assert books.patients[gone,] == 1


def test_a_file_that_is_not_there_is_not_made(path):
    with pytest.raises(StorageError, match="when it first starts"):
        read_books(path)
    assert not path.exists()


def test_another_releases_file_is_neither_read_nor_migrated(filled, path):
    with filled._database.writing() as rows:
        rows.execute("PRAGMA user_version = 0")
    filled.close()
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="start the custodian"):
        read_books(path)
    assert path.read_bytes() == before


def test_sqlite_itself_keeps_it_from_writing(filled, path):
    def change():
        database = ReadOnlyDatabase(path)
        try:
            with database.writing() as rows:
                rows.execute("DELETE FROM spends")
        finally:
            database.close()

    for close in (lambda: None, filled.close):
        close()
        with pytest.raises(StorageError, match="readonly"):
            change()


def test_what_a_dead_process_left_in_the_write_ahead_log_is_read(filled, path, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("ledger.sqlite", "ledger.sqlite-wal"):
        (copy / name).write_bytes((tmp_path / name).read_bytes())
    held = {each.name: each.read_bytes() for each in copy.iterdir()}
    assert len(read_books(copy / "ledger.sqlite").charges) == 3
    assert {name: (copy / name).read_bytes() for name in held} == held


def test_without_a_custodian_not_even_an_empty_log_is_left(filled, path, tmp_path):
    filled.close()
    before = {each.name: each.stat().st_mtime_ns for each in tmp_path.iterdir()}
    read_books(path, check=True)
    assert {each.name: each.stat().st_mtime_ns for each in tmp_path.iterdir()} == before


def test_a_reading_that_a_custodian_has_written_into_is_refused(filled, path):
    filled.close()
    database = ReadOnlyDatabase(path)
    with pytest.raises(StorageError, match="run again"), database.reading():
        os.utime(path, ns=(0, 0))
    database.close()


def test_a_view_within_a_view_is_the_same_moment(filled, path, studies, charge):
    database = ReadOnlyDatabase(path)
    with database.reading() as rows:
        before = rows.execute("SELECT count(*) FROM spends").fetchone()
        charge(studies[1], 2)
        with database.reading() as again:
            assert again.execute("SELECT count(*) FROM spends").fetchone() == before
        assert rows.in_transaction, "the inner one has not ended the outer one"
    database.close()
