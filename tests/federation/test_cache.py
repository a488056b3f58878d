import errno
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from federation.cache import cached


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("WARDROUND_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Making:
    """Counts how often something was made."""

    def __init__(self):
        self.times = 0

    def __call__(self):
        self.times += 1
        return {"images": np.arange(12, dtype=np.int16).reshape(3, 4), "names": np.array(["a", "b"])}


def check(arrays):
    assert np.array_equal(arrays["images"], np.arange(12).reshape(3, 4))
    assert arrays["names"].tolist() == ["a", "b"]


def test_what_was_made_is_not_made_again(folder, caplog):
    make = Making()
    for _ in range(3):
        check(cached("some", "v1", make))
    assert make.times == 1
    assert not caplog.records
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: b"",
        lambda content: content[:200] + bytes([content[200] ^ 1]) + content[201:],
        lambda content: b"x" + content,
    ],
    ids=["cut", "empty", "one bit", "shifted"],
)
def test_a_damaged_file_is_named_and_made_again(folder, caplog, damage):
    make = Making()
    cached("some", "v1", make)
    (file,) = folder.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    check(cached("some", "v1", make))
    assert make.times == 2
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert str(file) in record.getMessage()
    check(cached("some", "v1", make))
    assert make.times == 2, "the file was repaired"


def test_a_folder_that_cannot_be_made_costs_a_warning_and_not_the_result(tmp_path, monkeypatch, caplog):
    occupied = tmp_path / "file"
    occupied.write_text("not a folder")
    monkeypatch.setenv("WARDROUND_CACHE", str(occupied))
    check(cached("some", "v1", Making()))
    assert "set WARDROUND_CACHE" in caplog.text
    assert str(occupied) in caplog.text


def test_a_full_disk_costs_a_warning_and_leaves_nothing_behind(folder, monkeypatch, caplog):
    def full(self, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    check(cached("some", "v1", Making()))
    assert "No space left on device" in caplog.text
    assert list(folder.iterdir()) == []


def test_several_that_make_the_same_at_once_do_not_harm_each_other(folder, caplog):
    with ThreadPoolExecutor(8) as pool:
        for arrays in pool.map(lambda _: cached("some", "v1", Making()), range(40)):
            check(arrays)
    assert not caplog.records
    assert len(list(folder.iterdir())) == 1


def test_another_version_does_not_read_what_this_one_made(folder):
    make = Making()
    cached("some", "v1", make)
    cached("some", "v2", make)
    assert make.times == 2


def test_a_pickle_is_never_loaded_or_saved(folder):
    with pytest.raises(ValueError, match="pickle"):
        cached("some", "v1", lambda: {"objects": np.array([object()])})
