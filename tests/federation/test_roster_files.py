import json
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federation.errors import DataError
from federation.record_files import write_record
from federation.roster_files import read_roster, read_site_key
from federation.secure_sum.roster import Roster, SiteKey

KEYS = {site: sha256(site.encode()).hexdigest() for site in ("alder", "beech", "cedar")}
ROSTER = Roster.signed(Ed25519PrivateKey.from_private_bytes(bytes(32)), 1, KEYS)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.json"


def test_what_was_written_is_read(path):
    write_record(path, ROSTER)
    assert read_roster(path) == ROSTER
    own = SiteKey(site="alder", key=KEYS["alder"])
    write_record(path, own)
    assert read_site_key(path) == own


def test_a_missing_file_is_named(path):
    with pytest.raises(DataError, match=r"a.json cannot be read \(No such file or directory\)"):
        read_roster(path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": 0}, "version: Input should be greater"),
        ({"version": 10**400}, "version: Input should be less"),
        ({"keys": {}}, "keys: Dictionary should have at least 3 items"),
        ({"keys": KEYS | {"Dogwood": "d0" * 32}}, "keys.Dogwood.*: String should match"),
        ({"keys": KEYS | {"dogwood": KEYS["alder"]}}, "two sites have one key"),
        ({"more": 1}, "more: Extra inputs are not permitted"),
        ({"\x1b[2Jmore": 1}, "\N{REPLACEMENT CHARACTER}.2Jmore: Extra"),
        ({"version": 2}, "does not bear its coordinator's signature"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_roster_is_named_without_what_would_move_a_cursor(changes, said, path):
    path.write_text(json.dumps(ROSTER.model_dump() | changes))
    with pytest.raises(DataError, match=said) as refused:
        read_roster(path)
    assert str(refused.value).isprintable()
