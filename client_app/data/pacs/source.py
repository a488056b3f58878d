"""What is wanted of an archive of images, what it has of that, and what every archive can do.

Nothing here shows an identifier: not in a repr, not in an error.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Protocol, Self

from client_app.data.refusal import Refused
from client_app.data.uid import is_uid
from federation.errors import ConfigError

# No wildcard (``*?``), no list (``\`` in DIMSE, ``,`` in DICOMweb), no empty-value match (``""``).
_ACCESSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z ._/#:+&()-]{0,63}", re.ASCII)
MODALITY = re.compile(r"[A-Z][A-Z0-9]{1,15}", re.ASCII)
MOST_STUDIES = 100_000


@dataclass(frozen=True, repr=False)
class StudyRef:
    """A study that an archive has.

    Attributes:
        uid: its Study Instance UID.
        accession: its number in the radiology system; empty where it has none.
        instances: how many files the archive says it is; None where it does not say.
    """

    uid: str
    accession: str = ""
    instances: int | None = None

    def __post_init__(self) -> None:
        checked_uid(self.uid)

    def __repr__(self) -> str:
        return "StudyRef(...)"


@dataclass(frozen=True)
class Query:
    """Studies of a modality and a time.

    Attributes:
        modality: as DICOM calls it, e.g. ``CT``.
        since: the first day.
        until: the last day.
        description: words that the study's description has in it, whatever their case; empty for any.
        at_most: how many studies may match; more is an error, before one is fetched.
    """

    modality: str
    since: date
    until: date
    description: str = ""
    at_most: int = 1000

    def __post_init__(self) -> None:
        if not MODALITY.fullmatch(self.modality):
            raise ConfigError(f"modality={self.modality!r} is none; give one as DICOM writes it, e.g. CT")
        if self.since > self.until:
            raise ConfigError(f"since={self.since} is after until={self.until}")
        if set(self.description) & set("*?\\") or not self.description.isprintable():
            raise ConfigError("description has a wildcard in it; give words that the description holds")
        if not 1 <= self.at_most <= MOST_STUDIES:
            raise ConfigError(f"at_most={self.at_most} must be from 1 to {MOST_STUDIES}")


@dataclass(frozen=True, repr=False)
class Wanted:
    """Which studies are asked for: by accession numbers, by Study Instance UIDs, or by a query.

    Raises:
        ConfigError: none of the three is given, or several; or an identifier is empty, or could match more
            than one thing: to an archive, the accession number ``*`` is the whole hospital.
    """

    accessions: tuple[str, ...] = ()
    studies: tuple[str, ...] = ()
    query: Query | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("accessions", "studies", "query") if getattr(self, name)]
        if len(given) != 1:
            raise ConfigError(
                f"{' and '.join(given) or 'nothing'} is asked for; give one of accessions, studies or query"
            )
        for place, accession in enumerate(self.accessions, 1):
            if not _ACCESSION.fullmatch(accession) or accession != accession.strip():
                raise ConfigError(
                    f"accession {place} of {len(self.accessions)} is empty, or has a wildcard or a sign "
                    "in it that an archive could take for more than one study; give each in full"
                )
        for place, uid in enumerate(self.studies, 1):
            if not is_uid(uid):
                raise ConfigError(
                    f"study {place} of {len(self.studies)} is not a UID; give digits and dots only"
                )

    def missing(self, found: Iterable[StudyRef]) -> frozenset[str]:
        """The accessions or studies that are asked for and that none of those ``found`` has."""
        found = tuple(found)
        return frozenset(self.accessions).difference(ref.accession for ref in found) | frozenset(
            self.studies
        ).difference(ref.uid for ref in found)

    def __repr__(self) -> str:
        return f"Wanted({len(self.accessions)} accessions, {len(self.studies)} studies, {self.query})"


class Source(Protocol):
    """An archive. Use it in a ``with`` block, by one thread."""

    def __enter__(self) -> Self:
        """Begin; nothing is sent yet."""

    def __exit__(self, *_: object) -> None:
        """Let go of connections and ports."""

    def greet(self) -> str:
        """Ask once whether it is there and lets us in, about nobody; by what it was asked.

        Raises:
            RunError: it is not, or does not.
        """

    def find(self, wanted: Wanted) -> Iterator[StudyRef]:
        """The studies that are wanted, each once; what is not there is not among them.

        Raises:
            RunError: the archive cannot be asked, or more match than may.
        """

    def fetch(self, ref: StudyRef, to: Path) -> Iterator[Path]:
        """All files of a study, each whole; what is there already is not fetched again.

        Args:
            ref: the study.
            to: a folder of its own.

        Raises:
            Refused: the study cannot be taken as the archive gives it.
            RunError: not all have come; those that have are kept, for the next time.
            StorageError: the disk did not take a file.
        """


def checked_uid(text: str) -> str:
    """The UID itself.

    Raises:
        Refused: it is none.
    """
    if not is_uid(text):
        raise Refused("bad-uid", "a UID from the archive is empty, too long, or not made of digits and dots")
    return text
