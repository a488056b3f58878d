"""What goes into the store, and what leaves it.

Guarantee: whenever the process dies, every series that ``add`` returned for is whole, no row is without its
array, and nobody whom ``withdraw`` returned for has one left. Arrays are on disk before their row, and go
after it; what a dead process left between the two is removed by the next writer.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from sqlite3 import Connection
from typing import Self

from client_app.data.refusal import Refused
from client_app.data.store.manifest import Manifest
from client_app.data.store.rows import PATIENT, as_json, check
from client_app.data.volume import Volume
from federation.errors import DataError, StorageError
from federation.files import locked, sync_folder, write_whole
from federation.npy import to_npy
from federation.site_store import COLUMNS, Fact, StoredSeries, array_path, row_of, version_of

_LOCK = ".writer"
Provenance = Mapping[str, Fact | tuple[str, ...]]

_SELECT = f"SELECT {COLUMNS} FROM series"  # noqa: S608
_NOTHING = "facts = '{}', features = '{}', provenance = '{}'"


class StoreWriter:
    """Writes one store; several processes may, each waits for the other's step.

    Args:
        folder: of the store; made if there is none.

    Raises:
        DataError: it is damaged, or another release's.
        StorageError: the disk does not take it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with self._alone():
            self._manifest = Manifest(folder)
            self._sweep()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files."""
        self._manifest.close()

    @property
    def owner(self) -> str | None:
        """Fingerprint of the key that it was first filled with; None before."""
        with self._manifest.writing() as rows:
            found = rows.execute("SELECT fingerprint FROM owner").fetchone()
        return None if found is None else str(found[0])

    def belong_to(self, owner: str) -> None:
        """Hold the store to the key that it was first filled with: by another, everybody is somebody else.

        Args:
            owner: fingerprint of the key of pseudonyms.

        Raises:
            DataError: it was filled with another.
        """
        with self._alone(), self._manifest.writing() as rows:
            rows.execute("INSERT INTO owner SELECT ? WHERE NOT EXISTS (SELECT 1 FROM owner)", (owner,))
        if self.owner != owner:
            raise DataError(
                f"the store {self.folder} was filled with another key of pseudonyms, by which each patient "
                "is another; restore that key, or fill a new store"
            )

    def add(
        self,
        volume: Volume,
        *,
        patient: str,
        series: str,
        features: Mapping[str, Fact],
        provenance: Provenance,
    ) -> bool:
        """Put one series into the store, where it is on disk then; False if just this one was there already.

        Args:
            volume: its values and geometry.
            patient: the patient's pseudonym, 16 hex digits.
            series: the pseudonym of the series; the same one again is the same series.
            features: what is known of it.
            provenance: why it is in, without anybody's name; no part of the version.

        Raises:
            Refused: the patient withdrew (``withdrawn``); the series is in with other content
                (``other-content``), or the very image under another series (``same-image``) or as another
                patient's (``two-patients``).
            DataError: a pseudonym or a feature's name is none.
        """
        check(patient, series, features)
        content = to_npy(volume.values)
        row = StoredSeries(
            series=series,
            patient=patient,
            digest=sha256(content).hexdigest(),
            modality=volume.modality,
            spacing=volume.spacing,
            shape=volume.shape,
            directions=volume.directions,
            facts=dict(volume.facts),
            features=dict(features),
        )
        with self._alone():
            if self._there(row):
                return False
            self._store(row, content, provenance)
        return True

    def withdraw(self, patient: str, reason: str) -> int:
        """Take all of a patient's series out, for good, and let no more of them in; how many there were.

        Arrays are deleted, facts, features and provenance emptied; the bare rows stay as tombstones.

        Raises:
            DataError: that is no pseudonym of a patient.
        """
        if not PATIENT.fullmatch(patient):
            raise DataError("what is to be withdrawn is no pseudonym of a patient (16 hex digits)")
        with self._alone():
            with self._manifest.writing() as rows:
                rows.execute(
                    "INSERT INTO withdrawn VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (patient, _now(), reason)
                )
                buried = _bury(rows, "patient", patient, reason)
            self._remove(array_path(self.folder, digest) for digest in buried)
        return len(buried)

    def retract(self, series: str, reason: str) -> int:
        """Take one series out as `withdraw` does; it may come back, e.g. with a better label."""
        with self._alone():
            with self._manifest.writing() as rows:
                buried = _bury(rows, "series", series, reason)
            self._remove(array_path(self.folder, digest) for digest in buried)
        return len(buried)

    def consent_asked(self, at: datetime) -> None:
        """Write down that everybody here was asked for at ``at``, and that whoever may not be used is out."""
        with self._alone(), self._manifest.writing() as rows:
            rows.execute("INSERT INTO consent_asked VALUES (?)", (_text(at),))

    def seal(self) -> str:
        """Write down the version that is current, as an ingest does at its end; the version."""
        with self._alone(), self._manifest.writing() as rows:
            live = [row_of(row) for row in rows.execute(f"{_SELECT} WHERE withdrawn IS NULL")]
            version, patients = version_of(live), len({each.patient for each in live})
            last = rows.execute("SELECT version FROM sealed ORDER BY number DESC LIMIT 1").fetchone()
            if last != (version,):
                rows.execute(
                    "INSERT INTO sealed (version, at, series, patients) VALUES (?, ?, ?, ?)",
                    (version, _now(), len(live), patients),
                )
        return version

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While no other process writes."""
        try:
            with locked(self.folder / _LOCK, wait=True):
                yield
        except OSError as error:
            raise StorageError(
                f"the store {self.folder} cannot be written ({error.strerror}); mend the folder's rights"
            ) from error

    def _there(self, row: StoredSeries) -> bool:
        """Whether just this is in already.

        Raises:
            Refused: it may not come in.
        """
        with self._manifest.writing() as rows:
            if rows.execute("SELECT 1 FROM withdrawn WHERE patient = ?", (row.patient,)).fetchone():
                raise Refused("withdrawn", "the patient withdrew; nothing more of them is stored")
            found = [
                row_of(each)
                for each in rows.execute(
                    f"{_SELECT} WHERE withdrawn IS NULL AND (series = ? OR digest = ?)",
                    (row.series, row.digest),
                )
            ]
        if any(each.patient != row.patient for each in found):
            raise Refused(
                "two-patients",
                f"image {row.digest[:12]} or its series is in the store as another patient's; whoever is one "
                "person in two records must be joined in the source before either is stored",
            )
        if any(each.series == row.series and each.canonical() != row.canonical() for each in found):
            raise Refused(
                "other-content",
                "the series is in the store with other pixels or features; retract it, then add it again",
            )
        if any(each.series != row.series for each in found):
            raise Refused("same-image", f"image {row.digest[:12]} is in the store as another series already")
        return bool(found)

    def _store(self, row: StoredSeries, content: bytes, provenance: Provenance) -> None:
        """The array, then the row: whoever sees the row finds its array."""
        self._write_array(row, content)
        self._write_row(row, provenance)

    def _write_array(self, row: StoredSeries, content: bytes) -> None:
        write_whole(array_path(self.folder, row.digest), content, mode=0o640)

    def _write_row(self, row: StoredSeries, provenance: Provenance) -> None:
        values = [row.series, row.patient, row.digest, row.modality]
        values += [as_json(each) for each in (row.spacing, row.shape, row.directions)]
        values += [as_json(each) for each in (row.facts, row.features, provenance)]
        with self._manifest.writing() as rows:
            rows.execute(
                f"INSERT INTO series ({COLUMNS}, provenance, added) VALUES (?,?,?,?,?,?,?,?,?,?,?)",  # noqa: S608
                (*values, _now()),
            )

    def _sweep(self) -> None:
        """Remove every array that no live row has, and scraps of writes that were broken off."""
        with self._manifest.writing() as rows:
            live = {row[0] for row in rows.execute("SELECT digest FROM series WHERE withdrawn IS NULL")}
        paths = sorted((self.folder / "arrays").glob("*/*"))
        self._remove(path for path in paths if path.suffix != ".npy" or path.stem not in live)

    def _remove(self, paths: Iterable[Path]) -> None:
        try:
            for path in paths:
                path.unlink(missing_ok=True)
                sync_folder(path.parent)
        except OSError as error:
            raise StorageError(
                f"arrays below {self.folder} cannot be removed ({error.strerror}); mend the rights, run again"
            ) from error


def _bury(rows: Connection, column: str, value: str, reason: str) -> list[str]:
    """Make tombstones of live rows; their arrays, which are now nobody's, since no two rows share one."""
    buried = rows.execute(
        f"UPDATE series SET withdrawn = ?, reason = ?, {_NOTHING} "  # noqa: S608
        f"WHERE withdrawn IS NULL AND {column} = ? RETURNING digest",
        (_now(), reason, value),
    )
    return [row[0] for row in buried]


def _now() -> str:
    return _text(datetime.now(UTC))


def _text(moment: datetime) -> str:
    """In UTC, so that later is greater."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")
