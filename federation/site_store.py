"""A hospital's own store of images as tasks read it; ``client_app.data.store`` writes it.

::

    manifest.sqlite                 rows: a series, a patient who withdrew, a version at the end of an ingest,
                                    a time when consent was asked for
    arrays/<2 hex>/<sha256>.npy     int16 or float32 [slices, rows, columns], named by the SHA-256 of the file

Rows and arrays are added and never changed. Whoever withdraws loses array, facts and features; the bare row
stays. So what was opened stays as it was while more is added, and only a withdrawal takes something from it.

A reader makes no file and needs no right to write: SQLite's rollback journal, not a write-ahead log. It also
mends nothing: where a writer was killed between two steps of a commit, the next writer does.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from federation.errors import DataError, StorageError
from federation.npy import from_npy

MANIFEST = "manifest.sqlite"
LAYOUT = 1
"""The number of the layout that this release reads and writes; SQLite's ``user_version``."""

Fact = bool | int | float | str
Directions = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]
"""Unit vectors along slices, rows and columns of an array, each as (left, posterior, superior)."""

_PATIENCE = 60.0  # seconds to wait while a writer commits
COLUMNS = "series, patient, digest, modality, spacing, shape, directions, facts, features"


@dataclass(frozen=True)
class StoredSeries:
    """One series of images.

    Attributes:
        series: the pseudonym of the series.
        patient: the pseudonym of the patient, the same in every study.
        digest: SHA-256 of the array's file.
        modality: as DICOM names it, e.g. ``"CT"``.
        spacing: mm between slices, rows and columns.
        shape: slices, rows, columns.
        directions: which way the array's axes point in the patient.
        facts: how it was acquired.
        features: what is known of it, by which studies label it.
    """

    series: str = field(repr=False)
    patient: str = field(repr=False)
    digest: str
    modality: str
    spacing: tuple[float, float, float]
    shape: tuple[int, int, int]
    directions: Directions
    facts: Mapping[str, Fact] = field(repr=False)
    features: Mapping[str, Fact] = field(repr=False)

    def canonical(self) -> str:
        """All of it as one line of JSON, the same for the same content."""
        return json.dumps(
            {name: getattr(self, name) for name in COLUMNS.split(", ")},
            sort_keys=True,
            separators=(",", ":"),
            allow_nan=False,
        )


@dataclass(frozen=True)
class SiteStore:
    """A store as it was at one moment.

    Attributes:
        folder: where it is.
        series: everything live, sorted by patient and series.
        version: SHA-256 over ``series``: two stores of one version are the same to every study, whenever and
            in whatever order they were filled.
    """

    folder: Path
    series: tuple[StoredSeries, ...] = field(repr=False)
    version: str

    def array(self, series: StoredSeries) -> NDArray[np.generic]:
        """The values of a series, int16 or float32 ``[slices, rows, columns]``.

        Raises:
            DataError: it was withdrawn since the store was opened, or its file is damaged.
        """
        path = array_path(self.folder, series.digest)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise DataError(
                f"array {series.digest[:12]} is gone: its patient withdrew since this version was opened; "
                "open the store again"
            ) from None
        except OSError as error:
            raise StorageError(
                f"{path} cannot be read ({error.strerror}); mend the disk or rights"
            ) from error
        return checked_array(content, series)


class Standing(NamedTuple):
    """Whose data may be used, as the hospital's record last said.

    Attributes:
        asked: when everybody in the store was last asked for, with its time zone; None if they never were.
        taken_out: how many series were ever taken out, be it of somebody who has others left.
        arrays: the digests of those that are in.
    """

    asked: datetime | None = None
    taken_out: int = 0
    arrays: frozenset[str] = frozenset()

    def has_all_of(self, before: "Standing") -> bool:
        """Whether nothing has left since ``before``.

        A series that came in later and was taken out shows in the count alone; what a store lacks that was
        deleted, filled anew or restored from an older copy shows in the arrays alone.
        """
        return self.taken_out == before.taken_out and self.arrays >= before.arrays


def array_path(folder: Path, digest: str) -> Path:
    """Where the array of this SHA-256 lies."""
    return folder / "arrays" / digest[:2] / f"{digest}.npy"


def version_of(series: Iterable[StoredSeries]) -> str:
    """SHA-256 over the canonical lines, sorted."""
    digest = sha256()
    for line in sorted(each.canonical() for each in series):
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def has_store(folder: Path) -> bool:
    """Whether a store begins here.

    Raises:
        StorageError: one may not look.
    """
    try:
        return (folder / MANIFEST).is_file()
    except OSError as error:
        raise StorageError(f"{folder} cannot be looked into ({error.strerror}); mend its rights") from error


def open_store(folder: Path) -> SiteStore:
    """What is in the store now.

    Raises:
        DataError: there is none, it is damaged, or another release's.
        StorageError: it cannot be read at this moment.
    """
    with reading(folder) as rows:
        live = [
            row_of(row)
            for row in rows.execute(
                f"SELECT {COLUMNS} FROM series WHERE withdrawn IS NULL ORDER BY patient, series"  # noqa: S608
            )
        ]
    return SiteStore(folder, tuple(live), version_of(live))


def standing(folder: Path) -> Standing:
    """Whose data may be used now; where there is no store, nobody was ever asked for.

    Raises:
        DataError: the store is damaged, or another release's.
        StorageError: it cannot be read at this moment.
    """
    if not has_store(folder):
        return Standing()
    with reading(folder) as rows:
        (taken_out,) = rows.execute("SELECT count(withdrawn) FROM series").fetchone()
        asked = rows.execute("SELECT at FROM consent_asked ORDER BY rowid DESC LIMIT 1").fetchone()
        live = rows.execute("SELECT digest FROM series WHERE withdrawn IS NULL")
        arrays = frozenset(digest for (digest,) in live)
    return Standing(None if asked is None else datetime.fromisoformat(asked[0]), taken_out, arrays)


def row_of(row: tuple[str, ...]) -> StoredSeries:
    """A row of the manifest, its columns in the order of `StoredSeries`.

    Raises:
        DataError: it is none.
    """
    series, patient, digest, modality, *rest = row
    try:
        spacing, shape, directions, facts, features = (json.loads(text) for text in rest)
        return StoredSeries(
            series=series,
            patient=patient,
            digest=digest,
            modality=modality,
            spacing=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
            shape=(int(shape[0]), int(shape[1]), int(shape[2])),
            directions=(tuple(directions[0]), tuple(directions[1]), tuple(directions[2])),
            facts=dict(facts),
            features=dict(features),
        )
    except (ValueError, TypeError, IndexError):
        raise DataError(
            f"the manifest's row of array {digest[:12]} cannot be read; restore the newest copy"
        ) from None


def checked_array(content: bytes, series: StoredSeries) -> NDArray[np.generic]:
    """The array in a file's ``content``.

    Raises:
        DataError: it is not what the manifest says.
    """
    if sha256(content).hexdigest() != series.digest:
        raise DataError(f"array {series.digest[:12]} is damaged (its SHA-256 differs); restore a copy of it")
    try:
        values = from_npy(content)
    except ValueError as error:
        raise DataError(
            f"array {series.digest[:12]} is none ({error}); restore the newest copy of the store"
        ) from error
    if values.shape != series.shape or values.dtype not in (np.int16, np.float32):
        raise DataError(
            f"array {series.digest[:12]} is {values.dtype} {list(values.shape)}, the manifest says "
            f"{list(series.shape)}; restore the newest copy of the store"
        )
    return values


@contextmanager
def reading(folder: Path) -> Iterator[sqlite3.Connection]:
    """A view of one moment of the manifest.

    Raises:
        DataError: there is no store, it is damaged, or another release's.
        StorageError: it cannot be read at this moment.
    """
    path = folder / MANIFEST
    if not has_store(folder):
        raise DataError(f"{folder} holds no store ({MANIFEST} is not there); an ingest makes one")
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_PATIENCE, isolation_level=None
        )
        with closing(connection):
            connection.execute("BEGIN")
            (layout,) = connection.execute("PRAGMA user_version").fetchone()
            if layout != LAYOUT:
                raise DataError(
                    f"{path} is of layout {layout}, this release reads {LAYOUT}; install its release"
                )
            yield connection
    except sqlite3.OperationalError as error:
        raise StorageError(
            f"{path}: {error}; if a writer was killed, start it again, which mends this"
        ) from error
    except sqlite3.DatabaseError as error:
        raise DataError(f"{path} is no whole manifest ({error}); restore the newest copy") from error
