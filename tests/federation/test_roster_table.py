from hashlib import sha256
from io import StringIO

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rich.console import Console

from federation.roster_table import roster_table
from federation.secure_sum.roster import Roster, key_words


def key(name):
    return sha256(name.encode()).hexdigest()


def roster_of(version, sites, coordinator=0, **others):
    keys = {site: key(site) for site in sites.split()} | others
    return Roster.signed(Ed25519PrivateKey.from_private_bytes(bytes([coordinator] * 32)), version, keys)


def rows(roster, before=None, width=200):
    """What is printed in each row but the first, by its first column."""
    console = Console(file=StringIO(), width=width)
    console.print(roster_table(roster, before))
    cells = [line.strip().split("   ") for line in console.file.getvalue().splitlines() if line.strip()]
    return {first: [cell.strip() for cell in rest if cell.strip()] for first, *rest in cells[2:]}


ROSTER = roster_of(1, "alder beech cedar")


def test_the_whole_roster_its_coordinator_and_each_site_have_words():
    assert rows(ROSTER) == {
        "roster, version 1": [ROSTER.fingerprint],
        "the coordinator": [key_words(ROSTER.coordinator)],
        **{site: [key_words(key(site))] for site in ("alder", "beech", "cedar")},
    }


def test_what_has_changed_is_said():
    later = rows(
        roster_of(2, "alder cedar dogwood", coordinator=1, cedar=key("another")),
        before=roster_of(1, "alder beech cedar"),
    )
    assert [cells[-1] for cells in (later["the coordinator"], later["cedar"])] == ["ANOTHER KEY"] * 2
    assert (later["beech"], later["dogwood"][-1]) == (["left"], "new")
    assert later["alder"] == [key_words(key("alder"))]


@pytest.mark.parametrize("width", [40, 80])
def test_no_letter_is_lost_where_the_terminal_is_narrow(width):
    long = "a" * 64
    console = Console(file=StringIO(), width=width)
    console.print(roster_table(roster_of(1, f"alder beech {long}")))
    assert console.file.getvalue().count("a") >= 64 + sum(
        key_words(key(site)).count("a") for site in ("alder", "beech", long)
    )
    assert "…" not in console.file.getvalue()
