import errno

import pytest

from federation.errors import StorageError
from federation.files import append_line, write_whole


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


def test_a_journal_grows_by_lines(tmp_path):
    path = tmp_path / "new" / "journal"
    append_line(path, "one")
    append_line(path, "zwei: ε")
    assert path.read_text(encoding="utf-8") == "one\nzwei: ε\n"


def test_a_journal_that_cannot_grow_is_told(tmp_path):
    with pytest.raises(StorageError, match="could not be extended"):
        append_line(tmp_path, "a folder is no journal")
