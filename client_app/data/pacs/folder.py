"""A folder of DICOM files, as an archive exports them, in whatever order and under whatever names."""

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from client_app.data.pacs.answers import Answer, Question, found
from client_app.data.pacs.header import IDENTITY, read_header
from client_app.data.pacs.inbox import Inbox
from client_app.data.pacs.listing import Ask, Listed
from client_app.data.pacs.meter import Meter
from client_app.data.pacs.pull import pull
from client_app.data.pacs.settings import FolderSettings
from client_app.data.pacs.source import StudyRef, Wanted
from client_app.data.refusal import Refused
from client_app.data.uid import is_uid
from federation.errors import RunError

_FACTS = ("AccessionNumber", "Modality", "StudyDate", "StudyDescription", "SpecificCharacterSet")
_CHUNK = 1 << 20


class FolderSource:
    """See ``Source``. The files are looked through once, and only their headers are."""

    def __init__(self, settings: FolderSettings, meter: Meter) -> None:
        self._settings, self._meter = settings, meter
        self._files: dict[str, list[tuple[Listed, Path]]] = defaultdict(list)
        self._answers: dict[str, Answer] = {}

    def __enter__(self) -> Self:
        root = self._settings.folder
        if not root.is_dir():
            raise RunError(f"folder={root} is no folder; mount it, or mend ingest.pacs")
        for path in _regular_files(root):
            try:
                self._add(path, read_header(path, (*IDENTITY, *_FACTS)))
            except (Refused, OSError):
                self._meter.left_out()
        return self

    def __exit__(self, *_: object) -> None:
        self._files.clear()
        self._answers.clear()

    def greet(self) -> str:
        """See ``Source``; where it is no folder, nobody came as far as here."""
        return "a folder"

    def find(self, wanted: Wanted) -> Iterator[StudyRef]:
        """See ``Source``."""
        yield from found(wanted, self._asked, self._settings.retries, self._meter)

    def fetch(self, ref: StudyRef, to: Path) -> Iterator[Path]:
        """See ``Source``."""
        yield from pull(ref, to, self, self._settings, self._meter)

    def listed(self, study: str) -> list[Listed]:
        """See ``Transport``."""
        return [file for file, _ in self._files[study]]

    def retrieve(self, ask: Ask, inbox: Inbox) -> None:
        """See ``Transport``; of two files that claim to be the same one, both are brought."""
        for file, path in self._files[ask.study]:
            if file in ask.files:
                inbox.take(self._chunks(path))

    def _add(self, path: Path, header: dict[str, str]) -> None:
        sop_class, uid, study, series = (header[keyword] for keyword in IDENTITY)
        accession, modality, date, description, _ = (header[keyword] for keyword in _FACTS)
        if not is_uid(study):
            raise Refused("bad-uid", "a file in the folder has no study's UID")
        self._files[study].append((Listed(uid, series, sop_class), path))
        before = self._answers.get(study)
        modalities = dict.fromkeys((*(before.modalities if before else ()), modality))
        count = len({file.uid for file, _ in self._files[study]})
        self._answers[study] = Answer(study, accession, tuple(modalities), date, description, str(count))

    def _chunks(self, path: Path) -> Iterator[bytes]:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                self._meter.came(len(chunk))
                yield chunk

    def _asked(self, question: Question) -> Iterator[Answer]:
        return (answer for answer in self._answers.values() if question.asked_for(answer))


def _regular_files(root: Path) -> Iterator[Path]:
    """Sorted, so that the same folder is always the same; no link, which could lead out of it."""
    for folder, below, names in os.walk(root, followlinks=False):
        below.sort()
        for path in (Path(folder) / name for name in sorted(names)):
            if path.is_file() and not path.is_symlink():
                yield path
