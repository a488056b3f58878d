"""The writer dies at any moment: what it said was stored is there, and nothing is half there."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from client_app.data.store.verify import verify
from client_app.data.store.writer import StoreWriter
from federation.errors import DataError, StorageError
from federation.site_store import MANIFEST, open_store
from tests.client_app.data.store.conftest import patient, volume

PROJECT = Path(__file__).resolve().parents[4]
HALF = "a killed ingest leaves a row without its image, or an image of somebody who withdrew"
PROGRAM = """
import sys
from pathlib import Path
from client_app.data.store.writer import StoreWriter
from tests.client_app.data.store.conftest import patient, volume
with StoreWriter(Path(sys.argv[1])) as writer:
    for number in range(int(sys.argv[2]), 100_000):
        writer.add(volume(number), patient=patient(number), series=f"2.25.{number}",
                   features={"label": "benign"}, provenance={})
        print("added", number, flush=True)
        if number % 3 == 2:
            writer.withdraw(patient(number - 1), "opt-out")
            print("withdrew", number - 1, flush=True)
"""


def one_life(folder, first, wait):
    """Let a writer live until ``wait`` seconds after its first line, then SIGKILL; the lines it said."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), str(first)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )
    said = [process.stdout.readline()]
    threading.Timer(wait, process.send_signal, [signal.SIGKILL]).start()
    said += process.stdout.readlines()
    process.wait()
    process.stdout.close()
    assert process.returncode == -signal.SIGKILL
    return [line.split() for line in said if line.endswith("\n")]


@pytest.mark.attack(HALF, held_by="array, row; row, array; and the next writer's sweep")
def test_a_writer_that_is_killed_loses_nothing_that_it_said_and_keeps_nobody_who_left(tmp_path):
    folder, draw = tmp_path / "store", np.random.default_rng(0)
    added, withdrew, unsaid, first = set(), set(), set(), 0
    for _ in range(8):
        for act, number in one_life(folder, first, draw.uniform(0, 0.25)):
            (added if act == "added" else withdrew).add(int(number))
        StoreWriter(folder).close()
        assert verify(folder) == ()
        live = {int(each.patient, 16) for each in open_store(folder).series}
        unsaid.add(max(added) - 1)  # whose withdrawal may have come before the line that says it
        assert added - withdrew - unsaid <= live
        assert not live & withdrew
        assert live <= set(range(max(added) + 2))
        first = max(added) + 1
    assert len(added) > 20


def steps(folder, killed_at, act):
    """Kill at each step on the disk in turn; how often it came to that."""
    for step in range(1, 40):
        target = folder / str(step)
        with StoreWriter(target) as writer:
            for number in (1, 2):
                add(writer, number)
        with killed_at(step) as died:
            act(target)
        yield target, bool(died)
        if not died:
            return


def add(writer, number):
    return writer.add(volume(number), patient=patient(number), series=str(number), features={}, provenance={})


def add_third(folder):
    with StoreWriter(folder) as writer:
        add(writer, 3)


def withdraw_second(folder):
    with StoreWriter(folder) as writer:
        writer.withdraw(patient(2), "opt-out")


def rows_have_arrays(folder):
    store = open_store(folder)
    try:
        return all(store.array(series).size for series in store.series)
    except DataError:
        return False


@pytest.mark.parametrize("act", [add_third, withdraw_second])
def test_at_no_step_is_a_row_without_its_array_and_the_next_writer_mends_the_rest(tmp_path, killed_at, act):
    outcomes = []
    for folder, died in steps(tmp_path, killed_at, act):
        assert rows_have_arrays(folder)
        StoreWriter(folder).close()
        assert verify(folder) == ()
        outcomes.append(died)
    assert outcomes[-1] is False
    assert outcomes.count(True) >= (3 if act is add_third else 1)


@pytest.mark.mutant(HALF, how="the row is written before the array")
def test_with_the_row_first_a_row_has_no_array(tmp_path, killed_at, monkeypatch):
    def row_first(self, row, content, provenance):
        self._write_row(row, provenance)
        self._write_array(row, content)

    monkeypatch.setattr(StoreWriter, "_store", row_first)
    assert False in [rows_have_arrays(folder) for folder, _ in steps(tmp_path, killed_at, add_third)]


@pytest.mark.mutant(HALF, how="the next writer does not sweep")
def test_without_a_sweep_an_image_of_nobody_stays(tmp_path, killed_at, monkeypatch):
    wrong = []
    for folder, _ in steps(tmp_path, killed_at, add_third):
        with monkeypatch.context() as patch:
            patch.setattr(StoreWriter, "_sweep", lambda self: None)
            StoreWriter(folder).close()
        wrong += verify(folder)
    assert any("nobody's" in problem or "scrap" in problem for problem in wrong)


def test_where_a_commit_was_broken_off_a_reader_says_so_and_the_next_writer_mends_it(tmp_path):
    folder = tmp_path / "store"
    with StoreWriter(folder) as writer:
        add(writer, 1)
    program = (
        "import os, sqlite3, sys\n"
        "rows = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "rows.execute('PRAGMA cache_size=1')\n"
        "rows.execute('BEGIN EXCLUSIVE')\n"
        "rows.execute('CREATE TABLE half (content)')\n"
        # More than the cache holds, so that pages are in the file before the commit.
        "rows.executemany('INSERT INTO half VALUES (?)', [(bytes(5000),)] * 100)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(folder / MANIFEST)], check=False)
    assert (folder / f"{MANIFEST}-journal").exists()
    with pytest.raises(StorageError, match="start it again, which mends this"):
        open_store(folder)
    StoreWriter(folder).close()
    assert len(open_store(folder).series) == 1
    assert verify(folder) == ()


def test_readers_see_whole_versions_while_writers_add_and_withdraw(tmp_path):
    folder = tmp_path / "store"
    with StoreWriter(folder) as writer:
        add(writer, 0)
    ended, seen, wrong = threading.Event(), set(), []

    def read():
        while not ended.is_set():
            store = open_store(folder)
            seen.add(len(store.series))
            try:
                store.array(store.series[0])
            except (DataError, StorageError) as error:
                wrong.append(str(error))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()

    def write(first):
        with StoreWriter(folder) as writer:
            for number in range(first, first + 10):
                add(writer, number)
                time.sleep(0.01)

    writers = [threading.Thread(target=write, args=(first,)) for first in (1, 101)]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    ended.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert len(seen) > 2
    assert len(open_store(folder).series) == 21
    assert verify(folder) == ()
