"""A roster as people see it, at a site and at the coordinator: a row for each key, in words."""

from rich.box import SIMPLE_HEAD
from rich.table import Table

from federation.secure_sum.roster import Roster, key_words


def roster_table(roster: Roster, before: Roster | None = None) -> Table:
    """All of ``roster``, its coordinator and each site in words, and what has changed since ``before``."""
    old = roster if before is None else before
    table = Table(box=SIMPLE_HEAD)
    table.add_column("who", overflow="fold")
    table.add_column("words", overflow="fold")
    table.add_column("" if before is None else f"since version {before.version}", overflow="fold")
    # A site's name has no space, so none looks like one of these two.
    table.add_row(f"roster, version {roster.version}", roster.fingerprint)
    same = roster.coordinator == old.coordinator
    table.add_row("the coordinator", key_words(roster.coordinator), "" if same else "ANOTHER KEY")
    for site in sorted({*roster.keys, *old.keys}):
        key = roster.keys.get(site)
        table.add_row(site, "" if key is None else key_words(key), _change(key, old.keys.get(site)))
    return table


def _change(key: str | None, before: str | None) -> str:
    if key == before:
        return ""
    if before is None:
        return "new"
    return "left" if key is None else "ANOTHER KEY"
