import os
import sqlite3
import stat

import pytest

from client_app.custodian.ledger.migrations import MIGRATIONS
from federation.errors import LedgerError, StorageError


def test_another_keys_ledger_is_refused(ledger, make_ledger):
    with pytest.raises(LedgerError, match="another key"):
        make_ledger(owner="1" * 64)


def test_the_ledger_is_for_its_owner_alone(make_ledger, tmp_path):
    before = os.umask(0)
    try:
        make_ledger()
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.glob("ledger.sqlite*")}
    assert modes == {0o600}


def test_every_commit_is_forced_to_the_disk(ledger):
    with ledger._database.reading() as rows:
        assert rows.execute("PRAGMA synchronous").fetchone() == (2,), "FULL"
        assert rows.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_transaction_that_breaks_off_leaves_nothing(ledger, studies):
    def break_off():
        with ledger._database.writing() as rows:
            rows.execute("DELETE FROM studies")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert len(ledger.studies.all()) == 3


def test_a_newer_releases_ledger_is_refused(ledger, make_ledger, tmp_path):
    ledger.close()
    with sqlite3.connect(tmp_path / "ledger.sqlite") as file:
        file.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    file.close()
    with pytest.raises(LedgerError, match="install the release that wrote it"):
        make_ledger()


@pytest.mark.parametrize("content", [b"\x00" * 4096, b"no database" * 500])
def test_what_is_no_ledger_is_refused_and_left(content, make_ledger, tmp_path):
    (tmp_path / "ledger.sqlite").write_bytes(content)
    with pytest.raises(LedgerError, match=r"ledger\.sqlite"):
        make_ledger()
    assert (tmp_path / "ledger.sqlite").read_bytes() == content


def test_damage_is_found_when_it_is_looked_for(ledger, studies, make_ledger, tmp_path):
    ledger.check()
    ledger.close()
    path = tmp_path / "ledger.sqlite"
    content = bytearray(path.read_bytes())
    for page in range(1, len(content) // 4096):
        content[4096 * page + 8 : 4096 * page + 40] = b"\xff" * 32
    path.write_bytes(content)
    with pytest.raises(LedgerError):
        make_ledger().check()


def test_a_folder_that_cannot_be_written_is_named(make_ledger, tmp_path):
    (tmp_path / "ledger.sqlite").mkdir()
    with pytest.raises((LedgerError, StorageError), match=r"ledger\.sqlite"):
        make_ledger()
