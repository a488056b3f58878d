import errno
import os

import pytest

from federation.errors import StorageError
from federation.files import append_line, locked, sync_below, write_whole


def full(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "new" / "file"
    write_whole(path, b"first")
    write_whole(path, b"second")
    assert path.read_bytes() == b"second"
    assert [file.name for file in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace"])
def test_on_a_full_disk_the_old_file_stays_and_no_scrap_is_left(step, tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_whole(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(step, full)
        with pytest.raises(StorageError, match="No space left on device"):
            write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def forced(monkeypatch):
    """The files and folders that are forced to the disk, by their numbers."""
    forced, fsync = set(), os.fsync

    def told(descriptor):
        forced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", told)
    return forced


def numbers(*paths):
    return {path.stat().st_ino for path in paths}


@pytest.mark.parametrize(
    "write", [lambda path: write_whole(path, b"new"), lambda path: append_line(path, "new")]
)
def test_what_is_written_is_forced_to_the_disk_with_every_folder_that_it_needs(write, tmp_path, forced):
    """A file that is whole in a folder whose own name was lost is lost as well."""
    path = tmp_path / "a" / "b" / "file"
    with locked(path.with_name("lock"), wait=True):
        write(path)
    assert forced == numbers(path, path.parent, path.parent.parent, tmp_path)


def test_all_that_another_process_left_can_be_forced_to_the_disk(tmp_path, forced):
    path = tmp_path / "site" / "audit" / "log"
    path.parent.mkdir(parents=True)
    for left in (path, path.with_name("other"), tmp_path / "site" / "base.sqlite-wal"):
        left.write_bytes(b"left")
    sync_below(tmp_path / "site", but="base.sqlite*")
    assert forced == numbers(path, path.with_name("other"), path.parent, tmp_path / "site")


def test_what_belongs_to_somebody_else_is_left_to_them(tmp_path, forced, monkeypatch):
    """A hospital's folder may be a disk of its own, which has a lost+found."""
    others, ours = tmp_path / "lost+found", tmp_path / "ours"
    others.mkdir()
    ours.touch()
    opened = os.open

    def refuse(path, *args):
        if path == others:
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, *args)

    monkeypatch.setattr(os, "open", refuse)
    sync_below(tmp_path, but="nothing")
    assert forced == numbers(tmp_path, ours)


def test_a_journal_grows_by_lines(tmp_path):
    path = tmp_path / "new" / "journal"
    append_line(path, "one")
    append_line(path, "zwei: ε")
    assert path.read_text(encoding="utf-8") == "one\nzwei: ε\n"


def test_a_journal_that_cannot_grow_is_told(tmp_path):
    with pytest.raises(StorageError, match="could not be extended"):
        append_line(tmp_path, "a folder is no journal")
