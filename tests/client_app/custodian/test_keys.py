import os
import stat

import pytest

from client_app.custodian.keys import SiteKeys
from federation.errors import DataError

FILES = ("noise", "pseudonyms", "identity")


def raw(keys):
    return keys.noise, keys.pseudonyms, keys.identity.private_bytes_raw()


def test_keys_are_drawn_once_and_stay(tmp_path):
    keys = SiteKeys.kept_in(tmp_path / "alder")
    assert {len(key) for key in raw(keys)} == {32}
    assert len(set(raw(keys))) == 3
    assert raw(SiteKeys.kept_in(tmp_path / "alder")) == raw(keys)
    assert not set(raw(SiteKeys.kept_in(tmp_path / "birch"))) & set(raw(keys))


def test_keys_are_for_their_owner_alone(tmp_path):
    before = os.umask(0)
    try:
        SiteKeys.kept_in(tmp_path)
    finally:
        os.umask(before)
    assert {stat.S_IMODE((tmp_path / "keys" / name).stat().st_mode) for name in FILES} == {0o600}


def test_of_two_who_draw_at_once_both_have_the_same_keys(tmp_path, monkeypatch):
    link, first = os.link, []

    def too_late(scrap, path):
        if not first:
            first.append(None)
            first[0] = raw(SiteKeys.kept_in(tmp_path))
        link(scrap, path)

    monkeypatch.setattr(os, "link", too_late)
    assert raw(SiteKeys.kept_in(tmp_path)) == first[0]
    assert sorted(file.name for file in (tmp_path / "keys").iterdir()) == sorted(FILES)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_of_another_size_is_refused_and_kept(size, name, tmp_path):
    SiteKeys.kept_in(tmp_path)
    (tmp_path / "keys" / name).write_bytes(bytes(size))
    with pytest.raises(DataError, match=f"{name} holds {size} bytes"):
        SiteKeys.kept_in(tmp_path)
    assert (tmp_path / "keys" / name).read_bytes() == bytes(size)


def test_a_key_that_others_may_read_is_refused(tmp_path):
    SiteKeys.kept_in(tmp_path)
    (tmp_path / "keys" / "noise").chmod(0o640)
    with pytest.raises(DataError, match="chmod 600"):
        SiteKeys.kept_in(tmp_path)


def test_a_pseudonym_is_the_same_each_time_and_says_nothing(tmp_path):
    keys = SiteKeys.kept_in(tmp_path / "alder")
    assert keys.pseudonym("Erika Mustermann") == keys.pseudonym("Erika Mustermann")
    assert len({keys.pseudonym(name) for name in ("Erika", "erika", "Erika ", "")}) == 4
    assert SiteKeys.kept_in(tmp_path / "birch").pseudonym("Erika") != keys.pseudonym("Erika")


def test_seeded_keys_repeat_for_a_seed_and_a_site():
    assert raw(SiteKeys.seeded(1, "alder")) == raw(SiteKeys.seeded(1, "alder"))
    others = [SiteKeys.seeded(1, "birch"), SiteKeys.seeded(2, "alder")]
    assert len({raw(keys) for keys in [SiteKeys.seeded(1, "alder"), *others]}) == 3


def test_keys_are_never_printed(tmp_path):
    keys = SiteKeys.seeded(1, "alder")
    assert keys.noise.hex() not in repr(keys)
    assert str(keys.noise) not in repr(keys)


class TestFoundIn:
    def test_gives_the_keys_that_lie_there(self, tmp_path):
        kept = SiteKeys.kept_in(tmp_path)
        found = SiteKeys.found_in(tmp_path)
        assert (found.noise, found.owner) == (kept.noise, kept.owner)
        assert found.identity.private_bytes_raw() == kept.identity.private_bytes_raw()

    def test_makes_none(self, tmp_path):
        with pytest.raises(DataError, match="noise cannot be read"):
            SiteKeys.found_in(tmp_path)
        assert list(tmp_path.iterdir()) == []
