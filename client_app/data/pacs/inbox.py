"""Where the files of one study arrive: each whole or not at all, each once, and none that was not asked."""

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Self
from uuid import uuid4

from client_app.data.pacs.dropped import DroppedError
from client_app.data.pacs.header import read_header, same_dataset
from client_app.data.pacs.listing import Listed
from client_app.data.pacs.meter import Meter
from client_app.data.pacs.settings import Settings
from client_app.data.pacs.syntaxes import SOP_CLASSES
from client_app.data.refusal import Refused
from federation.errors import RunError, StorageError
from federation.files import locked, make_folder, sync_folder

_SCRAP = ".part-"


class Inbox:
    """A folder for a study's files, named by the hash of their SOP Instance UIDs; of any number of threads.

    Args:
        folder: where they go, and no other study's.
        study: the Study Instance UID that they must have.
        expected: all that may come.
        settings: how large a file may be and how long it may take.
        meter: what they are counted by.

    Attributes:
        refused: how many were not taken, by the rule that decided.
        broken: the first fault of the disk, which those that bring files cannot tell anybody.
    """

    def __init__(
        self,
        folder: Path,
        study: str,
        expected: Sequence[Listed],
        settings: Settings,
        meter: Meter,
    ) -> None:
        self._folder, self._study, self._settings, self._meter = folder, study, settings, meter
        self._expected = {file.uid: file for file in expected}
        self._lock = Lock()
        self.refused: Counter[str] = Counter()
        self.broken: StorageError | None = None

    @classmethod
    @contextmanager
    def opened(
        cls,
        folder: Path,
        study: str,
        expected: Sequence[Listed],
        settings: Settings,
        meter: Meter,
    ) -> Iterator[Self]:
        """One that no other process uses, without scraps of one that was killed.

        Raises:
            RunError: another process uses the folder.
            StorageError: the disk does not take it.
        """
        try:
            make_folder(folder)
            with locked(folder / ".lock", wait=False):
                for scrap in folder.glob(f"{_SCRAP}*"):
                    scrap.unlink()
                yield cls(folder, study, expected, settings, meter)
                sync_folder(folder)
        except BlockingIOError:
            raise RunError("another process fetches into the same folder; let it end first") from None
        except OSError as error:
            raise StorageError(
                f"the folder for a study cannot be used ({error.strerror}); see to the disk"
            ) from None

    @property
    def hopeless(self) -> bool:
        """Whether to ask again would bring the same."""
        return self.in_conflict or self.refused["too-large"] > 0

    @property
    def in_conflict(self) -> bool:
        """Whether ever two different files came as one; which of them is right, we cannot know."""
        return self._mark.exists()

    @property
    def paths(self) -> list[Path]:
        """Of all files that may come, whether they have or not."""
        return [self._path(uid) for uid in self._expected]

    @property
    def missing(self) -> list[Listed]:
        """What has not come."""
        return [file for uid, file in self._expected.items() if not self._path(uid).exists()]

    def take(self, content: Iterable[bytes | memoryview], announced: str | None = None) -> Refused | None:
        """Keep a file, or say why not; then ``content`` may not have been read to its end.

        Args:
            content: its bytes, as they come.
            announced: the SOP Instance UID that it was sent as; None where only the file says.

        Raises:
            DroppedError: it takes too long, or ``content`` raises it.
            StorageError: the disk did not take it.
        """
        scrap = self._folder / f"{_SCRAP}{uuid4().hex}"
        try:
            size = self._write(scrap, content)
            self._keep(scrap, announced, size)
        except Refused as refusal:
            self.refuse(refusal.rule)
            return refusal
        except OSError as error:
            self.broken = StorageError(
                f"a file from the archive could not be written ({error.strerror}); free space and run again"
            )
            raise self.broken from None
        finally:
            scrap.unlink(missing_ok=True)
        return None

    def refuse(self, rule: str) -> None:
        """Count a file that was not taken."""
        with self._lock:
            self.refused[rule] += 1
        self._meter.left_out()

    def _write(self, scrap: Path, content: Iterable[bytes | memoryview]) -> int:
        most, size = self._settings.instance_mib << 20, 0
        end = time.monotonic() + self._settings.instance_seconds
        with os.fdopen(os.open(scrap, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            for chunk in content:
                size += len(chunk)
                if size > most:
                    raise Refused("too-large", f"a file is larger than instance_mib={most >> 20}")
                file.write(chunk)
                if time.monotonic() > end:
                    raise DroppedError(
                        f"a file took longer than instance_seconds={self._settings.instance_seconds:g}"
                    )
            file.flush()
            os.fsync(file.fileno())
        return size

    def _keep(self, scrap: Path, announced: str | None, size: int) -> None:
        sop_class, uid, study, _ = read_header(scrap).values()
        expected = self._expected.get(uid)
        if expected is None or announced not in (None, uid):
            raise Refused("not-asked-for", "the archive sent a file that was not asked for")
        if study != self._study:
            raise Refused("another-study", "the archive sent a file that says it is of another study")
        if sop_class not in SOP_CLASSES or expected.sop_class not in ("", sop_class):
            raise Refused("sop-class", "the archive sent a file of a kind that is not taken")
        path = self._path(uid)
        # Two connections may bring the same file at once, where the first was given up too early.
        with self._lock:
            if not path.exists():
                scrap.replace(path)
                self._meter.kept(size)
            elif not same_dataset(scrap, path):
                self._mark.touch()
                raise Refused(
                    "duplicate-instance", "the archive has two different files of one SOP Instance UID"
                )

    @property
    def _mark(self) -> Path:
        """It outlives us: of the two files one is there, and would not be asked for again."""
        return self._folder / ".duplicate-instance"

    def _path(self, uid: str) -> Path:
        return self._folder / f"{sha256(uid.encode()).hexdigest()[:40]}.dcm"
