"""Whether a store is whole: every row has its array, every array its row, and nobody who withdrew has any."""

import sqlite3
from contextlib import closing
from pathlib import Path

from client_app.data.store.manifest import integrity
from federation.errors import DataError, StorageError
from federation.site_store import MANIFEST, open_store


def verify(folder: Path) -> tuple[str, ...]:
    """What is wrong with the store, in words that name nobody; reads every array, changes nothing.

    While somebody writes, a step of theirs may be seen half-way: an array whose row has not come yet.

    Raises:
        DataError: there is no store, or it cannot be read as one.
        StorageError: it cannot be read at this moment.
    """
    found = [f"the manifest is damaged: {problem}" for problem in integrity(folder / MANIFEST)]
    if found:
        return tuple(found)
    store = open_store(folder)
    for series in store.series:
        try:
            store.array(series)
        except (DataError, StorageError) as error:
            found.append(str(error))
    live = {series.digest for series in store.series}
    for path in sorted((folder / "arrays").glob("*/*")):
        if path.suffix != ".npy":
            found.append("a write was broken off and its scrap is left; the next writer removes it")
        elif path.stem not in live:
            found.append(f"array {path.stem[:12]} is nobody's; the next writer removes it")
    return (*found, *_remains(folder))


def _remains(folder: Path) -> list[str]:
    """Live rows of patients who withdrew, and tombstones that still say something."""
    asked = (
        (
            "live series of patients who withdrew",
            "withdrawn IS NULL AND patient IN (SELECT patient FROM withdrawn)",
        ),
        (
            "tombstones with facts",
            "withdrawn IS NOT NULL AND (facts, features, provenance) <> ('{}', '{}', '{}')",
        ),
    )
    path = folder / MANIFEST
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as rows:
        counts = [
            (what, rows.execute(f"SELECT count(*) FROM series WHERE {where}").fetchone()[0])  # noqa: S608
            for what, where in asked
        ]
    return [f"{count} {what}; withdraw them again" for what, count in counts if count]
