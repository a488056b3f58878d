"""The images of a table, from a folder into the store: each once, whatever dies in between."""

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from client_app.data.fhir.consent import Decision
from client_app.data.ingest.folder import digest_of, read_any
from client_app.data.ingest.journal import Entry, Journal
from client_app.data.ingest.run import Filled, Taken, Told
from client_app.data.ingest.shelf import Shelf
from client_app.data.ingest.table import Row
from client_app.data.keys import Pseudonyms
from client_app.data.pacs.images import ImageKind, is_png
from client_app.data.store.writer import StoreWriter
from federation.errors import ConfigError, DataError, RunError
from federation.site_store import open_store


def check_pngs(folder: Path, rows: Sequence[Row], kind: ImageKind) -> None:
    """See before anything is touched whether PNGs can be taken; else each is refused, and leaves the store.

    Args:
        folder: where the images are.
        rows: of the table.
        kind: what all of them are.

    Raises:
        ConfigError: there are PNGs, and of this kind they cannot be.
    """
    said = f"{folder} has PNGs, which"
    if (kind.placed or kind.spacing is None) and any(_is_png(folder, row) for row in rows):
        if kind.placed:
            raise ConfigError(
                f"{said} say neither place nor unit of a {kind.modality}; take DICOM or NIfTI, or give the "
                "--modality that they are"
            )
        raise ConfigError(f"{said} do not say how far apart their pixels are; give --spacing MM")


class _Image(NamedTuple):
    row: Row
    path: Path
    entry: Entry
    why: str


class TableIngest:
    """Takes a table in.

    Args:
        folder: where its images are.
        kind: what all of them are.
        journal: of the ingest.
        store: where images go.
        pseudonyms: of the site.

    Attributes:
        origin: of its images, in the journal.
    """

    def __init__(
        self, folder: Path, kind: ImageKind, *, journal: Journal, store: StoreWriter, pseudonyms: Pseudonyms
    ) -> None:
        if not folder.is_dir():
            raise RunError(f"{folder} is no folder; mount it, or give another")
        self._folder, self._kind, self.origin = folder.resolve(), kind, f"table/{kind.modality}"
        self._journal, self._store, self._pseudonyms = journal, store, pseudonyms
        self._shelf = Shelf(journal, store, pseudonyms)

    def take(
        self,
        rows: Sequence[Row],
        decisions: Mapping[str, Decision],
        told: Told = lambda _: None,
        *,
        again: bool = False,
        shrink: bool = False,
        refused: Callable[[int, str], None] = lambda *_: None,
    ) -> Filled:
        """Put into the store whatever is not there yet.

        A file that is not there now is looked for the next time. Images of this modality that no row names
        any more, or whose patient may not be used, leave the store; where the former are more than half, it
        stops before they do.

        Args:
            rows: of the table.
            decisions: by the hospital's number, whether a patient's images may be used.
            told: called after each image.
            again: looks again at what was refused.
            shrink: lets more than half leave.
            refused: called with the number of a row and the rule that keeps it out.

        Raises:
            DataError: nobody's images may be used, two rows lead to one file, or more than half are no longer
                named.
            StorageError: the disk did not take it; the next try goes on.
        """
        allowed = [row for row in rows if decisions[row.patient].allowed]
        if not allowed:
            raise DataError("none of the table's patients may be used, so nothing is taken in")
        out: Counter[str] = Counter(decisions[row.patient].rule for row in rows)
        out.subtract(decisions[row.patient].rule for row in allowed)
        keys = self._keys(allowed)
        if not shrink:
            self._check_leaving(keys)
        self._shelf.keep_only(self.origin, keys)
        images = []
        for row in allowed:
            if image := self._found(row, decisions[row.patient]):
                images.append(image)
            else:
                out["no-such-file"] += 1
                refused(row.number, "no-such-file")
        todo = [image for image in images if not self._journal.is_done(image.entry, again=again)]
        # Before anything comes in, since files change their names among each other.
        for image in todo:
            if not self._journal.is_done(image.entry):
                self._shelf.clear(image.entry)
        seen, taken = len(rows) - len(todo), 0
        broken: Counter[str] = Counter()
        for image in todo:
            made = partial(read_any, image.path, image.row.patient, self._kind, self._pseudonyms)
            outcome = self._shelf.put(
                image.entry,
                {image.entry.key: made},
                features=image.row.features,
                why=("table", image.why),
                refused={},
                failed={},
            )
            for rule in (*outcome.refused, *outcome.failed):
                refused(image.row.number, rule)
            broken.update(outcome.failed.keys())
            taken, seen = taken + len(outcome.series), seen + 1
            told(Taken(seen, len(rows), taken))
        kept_out = self._journal.refused(self.origin) + out  # which drops zeros
        return Filled(self._store.seal(), kept_out, broken=broken)

    def _check_leaving(self, keys: frozenset[str]) -> None:
        """Whoever may not be used any more is out already, and does not count."""
        live = {each.series for each in open_store(self._store.folder).series}
        held = {key: len(live.intersection(series)) for key, series in self._journal.series(self.origin)}
        there, leaving = sum(held.values()), sum(held[key] for key in held.keys() - keys)
        if leaving * 2 > there:
            raise DataError(
                f"the table does not name {leaving} of the {there} {self._kind.modality} series that earlier "
                "ones have put into the store, so none of them leaves, and nothing is taken in; see whether "
                "it is whole, or let them leave by --shrink"
            )

    def _keys(self, rows: Sequence[Row]) -> frozenset[str]:
        keys = frozenset(self._key(self._path(row)) for row in rows)
        if len(keys) < len(rows):
            raise DataError("two rows of the table lead to one file; name each once")
        return keys

    def _found(self, row: Row, decision: Decision) -> _Image | None:
        """The image of a row; None where there is no file of the folder."""
        path = self._path(row)
        content = digest_of(path) if self._folder in path.parents else None
        if content is None:
            return None
        kind = self._kind
        said = [content, row.patient, dict(row.features), kind.modality, kind.body_part, kind.spacing]
        said.append(kind.options.model_dump(mode="json"))
        wanted = sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
        return _Image(row, path, Entry(self._key(path), self.origin, row.patient, wanted), decision.rule)

    def _path(self, row: Row) -> Path:
        return _path(self._folder, row)

    def _key(self, path: Path) -> str:
        """Of a name in the folder, wherever that is mounted."""
        return self._pseudonyms.uid(f"image/{os.path.relpath(path, self._folder)}")


def _path(folder: Path, row: Row) -> Path:
    return Path(os.path.realpath(folder / row.file))


def _is_png(folder: Path, row: Row) -> bool:
    path = _path(folder, row)
    try:
        return is_png(path) and path.is_file()
    except OSError:  # which comes up again when it is read
        return False
