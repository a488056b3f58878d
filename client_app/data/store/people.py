"""Whom a store has, and has had, without their names."""

from dataclasses import dataclass
from pathlib import Path

from federation.site_store import reading


@dataclass(frozen=True, repr=False)
class People:
    """See the module.

    Attributes:
        owner: fingerprint of the key of their pseudonyms; None where nothing was ever put in.
        now: pseudonyms of those who have images in it.
        gone: of those who had, and were taken out.
    """

    owner: str | None
    now: frozenset[str]
    gone: frozenset[str]


def people_of(folder: Path) -> People:
    """Whom the store has; nothing is written.

    Raises:
        DataError: there is no store, it is damaged, or another release's.
        StorageError: it cannot be read at this moment.
    """
    with reading(folder) as rows:
        owner = rows.execute("SELECT fingerprint FROM owner").fetchone()
        counted = rows.execute("SELECT patient, count(*) > count(withdrawn) FROM series GROUP BY patient")
        is_in = {str(patient): bool(live) for patient, live in counted}
    now = frozenset(patient for patient, live in is_in.items() if live)
    return People(None if owner is None else str(owner[0]), now, frozenset(is_in) - now)
