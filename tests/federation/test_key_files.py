import os
import stat

import pytest

from federation.errors import DataError, StorageError
from federation.key_files import kept_key, read_key, read_password


@pytest.fixture
def path(tmp_path):
    return tmp_path / "key"


def test_a_key_is_drawn_once_for_its_owner_alone(path):
    before = os.umask(0)
    try:
        key = kept_key(path)
    finally:
        os.umask(before)
    assert len(key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert kept_key(path) == read_key(path) == key
    assert list(path.parent.iterdir()) == [path]


def test_reading_draws_none(path):
    with pytest.raises(DataError, match="key cannot be read"):
        read_key(path)
    assert not path.exists()


def test_a_process_that_dies_while_it_draws_leaves_no_half_of_a_key(path, monkeypatch):
    def die(descriptor):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", die)
        with pytest.raises(KeyboardInterrupt):
            kept_key(path)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("size", [0, 31, 33])
def test_what_is_no_key_is_refused_and_kept(size, path):
    path.write_bytes(bytes(size))
    path.chmod(0o600)
    for read in (kept_key, read_key):
        with pytest.raises(DataError, match=f"holds {size} bytes, not 32"):
            read(path)
    assert path.read_bytes() == bytes(size)


def test_a_key_that_others_may_read_is_refused(path):
    kept_key(path)
    path.chmod(0o640)
    with pytest.raises(DataError, match="chmod 600"):
        kept_key(path)


def test_its_folder_is_made_for_the_owner_alone(tmp_path):
    kept_key(tmp_path / "keys" / "key")
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_a_key_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "keys").write_text("a file")
    with pytest.raises(StorageError, match="keys/key could not be written"):
        kept_key(tmp_path / "keys" / "key")


@pytest.mark.parametrize(
    ("content", "match"), [(b" \n", "is empty"), (b"\xff\xfe", "no text"), (None, "cannot be read")]
)
def test_a_password_that_is_none_is_refused(content, match, tmp_path):
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
        path.chmod(0o600)
    with pytest.raises(DataError, match=f"{path} .*{match}"):
        read_password(path)


def test_a_password_is_for_its_owner_alone(tmp_path):
    path = tmp_path / "password"
    path.write_text(" opensesame\n")
    path.chmod(0o640)
    with pytest.raises(DataError, match=r"mode 0640\); chmod 600"):
        read_password(path)
    path.chmod(0o600)
    assert read_password(path) == "opensesame"
