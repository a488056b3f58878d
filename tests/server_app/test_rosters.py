"""``wardround-coordinator roster``, as whoever runs the federation types it."""

import hashlib
import json
import stat

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federation.errors import ConfigError, DataError
from federation.record_files import write_record
from federation.roster_files import read_roster
from federation.secure_sum.roster import SiteKey
from server_app.coordinator import commands

SITES = ("alder", "beech", "cedar", "dogwood")


def public(name):
    secret = hashlib.sha256(name.encode()).digest()
    return Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw().hex()


class Desk:
    """Where the coordinator keeps its key and its roster."""

    def __init__(self, folder):
        self.folder, self.path, self.key = folder, folder / "roster.json", folder / "coordinator.key"

    def told(self, site, key=""):
        """The file of what a site tells of itself; ``key`` names another key than its own."""
        path = self.folder / f"{site}{key}.json"
        write_record(path, SiteKey(site=site, key=public(key or site)))
        return path

    def typed(self, *arguments):
        """What ``wardround-coordinator roster ...`` prints; the error that it ends with is raised."""
        result = CliRunner().invoke(commands, ["roster", *map(str, arguments)])
        if result.exception is not None:
            raise result.exception
        return result.output

    def create(self, *files, key=None, to=None):
        return self.typed("create", *files, "--key", key or self.key, "--to", to or self.path)

    def change(self, *options, key=None):
        return self.typed("change", self.path, "--key", key or self.key, *options)

    @property
    def roster(self):
        return read_roster(self.path)


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


@pytest.fixture
def created(desk):
    """A roster of three; what was printed."""
    return desk.create(*map(desk.told, SITES[:3]))


class TestCreate:
    def test_it_signs_what_the_sites_told_with_a_key_of_its_own(self, desk, created):
        roster = desk.roster
        assert (roster.version, roster.keys) == (1, {site: public(site) for site in SITES[:3]})
        secret = Ed25519PrivateKey.from_private_bytes(desk.key.read_bytes())
        assert roster.coordinator == secret.public_key().public_bytes_raw().hex()
        assert stat.S_IMODE(desk.key.stat().st_mode) == 0o600

    def test_it_shows_each_key_in_words(self, desk, created):
        assert desk.roster.fingerprint in created
        for site in SITES[:3]:
            (line,) = (line for line in created.splitlines() if line.split()[:1] == [site])
            assert line.split()[1:] == SiteKey(site=site, key=public(site)).words.split()

    def test_another_roster_has_the_same_key(self, desk, created):
        before = desk.key.read_bytes()
        desk.create(*map(desk.told, SITES), to=desk.folder / "another.json")
        assert desk.key.read_bytes() == before
        assert read_roster(desk.folder / "another.json").coordinator == desk.roster.coordinator

    def test_a_roster_that_is_there_is_not_replaced(self, desk, created):
        before = desk.path.read_bytes()
        with pytest.raises(ConfigError, match=r"roster.json is there already; name another file"):
            desk.create(*map(desk.told, SITES))
        assert desk.path.read_bytes() == before

    @pytest.mark.parametrize(
        ("sites", "said"),
        [
            ([("alder",), ("beech",)], "would have 2 sites; give 3 at least"),
            ([("alder",), ("beech",), ("alder", "cedar")], "alder is in the roster already"),
            ([("alder",), ("beech",), ("cedar", "alder")], "two sites have one key"),
        ],
    )
    def test_what_makes_no_roster_draws_no_key(self, desk, sites, said):
        with pytest.raises(ConfigError, match=said):
            desk.create(*(desk.told(*site) for site in sites))
        assert not desk.key.exists()
        assert not desk.path.exists()

    @pytest.mark.parametrize(
        "content", [b"", b"\xff", b"{}", b'{"site": "Alder", "key": "00"}', b'{"site": "alder", "key": 7}']
    )
    def test_what_is_no_site_s_key_is_named(self, desk, content):
        (desk.folder / "wrong.json").write_bytes(content)
        with pytest.raises(DataError, match=r"wrong.json is no site's key .*; take another copy"):
            desk.create(desk.told("alder"), desk.told("beech"), desk.folder / "wrong.json")


class TestChange:
    def test_a_site_joins_and_another_leaves(self, desk, created):
        said = desk.change("--add", desk.told("dogwood"), "--remove", "beech")
        roster = desk.roster
        assert (roster.version, sorted(roster.keys)) == (2, ["alder", "cedar", "dogwood"])
        lines = {line.split()[0]: line.rstrip() for line in said.splitlines() if line.strip()}
        assert "since version 1" in said
        assert lines["beech"].split() == ["beech", "left"]
        assert lines["dogwood"].endswith("new")
        assert lines["alder"].endswith(SiteKey(site="alder", key=public("alder")).words)

    def test_a_key_is_replaced_where_both_are_said(self, desk, created):
        said = desk.change("--remove", "alder", "--add", desk.told("alder", "anew"))
        assert desk.roster.keys["alder"] == public("anew")
        assert "ANOTHER KEY" in said

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ((), "would stay as it is; say what changes"),
            (("--remove", "elder"), "--remove elder: it is not in the roster; did you mean 'alder'?"),
            (("--remove", "alder"), "would have 2 sites; give 3 at least"),
        ],
    )
    def test_what_makes_no_other_roster_is_refused(self, desk, options, said, created):
        before = desk.path.read_bytes()
        with pytest.raises(ConfigError) as refused:
            desk.change(*options)
        assert said in str(refused.value)
        assert desk.path.read_bytes() == before

    def test_a_key_is_not_replaced_by_the_way(self, desk, created):
        with pytest.raises(ConfigError, match=r"alder is in the roster already; .*--remove alder, too"):
            desk.change("--add", desk.told("alder", "anew"))

    def test_another_key_than_the_roster_s_signs_nothing(self, desk, created):
        another = desk.folder / "another.key"
        desk.create(*map(desk.told, SITES), key=another, to=desk.folder / "another.json")
        with pytest.raises(
            ConfigError, match=r"another.key is not the key that .*roster.json is signed with"
        ):
            desk.change("--add", desk.told("dogwood"), key=another)

    def test_no_key_is_drawn(self, desk, created):
        with pytest.raises(DataError, match=r"lost.key cannot be read"):
            desk.change("--add", desk.told("dogwood"), key=desk.folder / "lost.key")
        assert not (desk.folder / "lost.key").exists()


class TestShow:
    def test_it_prints_what_was_printed_before(self, desk, created):
        assert desk.typed("show", desk.path) in created

    def test_one_that_was_changed_is_refused(self, desk, created):
        desk.path.write_text(json.dumps(json.loads(desk.path.read_text()) | {"version": 2}))
        with pytest.raises(DataError, match="does not bear its coordinator's signature"):
            desk.typed("show", desk.path)

    def test_one_that_is_not_there_is_named(self, desk):
        with pytest.raises(DataError, match=r"roster.json cannot be read"):
            desk.typed("show", desk.path)
