"""Which files a study consists of, as the archive says, and which of them are asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from client_app.data.pacs.source import checked_uid
from client_app.data.pacs.syntaxes import SOP_CLASSES
from client_app.data.refusal import Refused
from federation.errors import RunError

_MOST_INSTANCES = 100_000  # of a study; the largest known have some ten thousand
_MOST_AT_ONCE = 100  # UIDs in one request


@dataclass(frozen=True, repr=False)
class Listed:
    """A file of a study.

    Attributes:
        uid: its SOP Instance UID.
        series: the Series Instance UID.
        sop_class: what it is; empty where the archive does not say.
    """

    uid: str
    series: str
    sop_class: str = ""

    def __post_init__(self) -> None:
        checked_uid(self.uid)
        checked_uid(self.series)

    @property
    def is_image(self) -> bool:
        """Whether it is of a kind that is taken, as far as is known."""
        return not self.sop_class or self.sop_class in SOP_CLASSES


@dataclass(frozen=True, repr=False)
class Ask:
    """One request.

    Attributes:
        study: its Study Instance UID.
        level: whether for all of the study, all of a series, or some files of a series.
        series: the series; empty at the level of the study.
        files: what is to come.
    """

    study: str
    level: Literal["STUDY", "SERIES", "IMAGE"]
    series: str
    files: tuple[Listed, ...]


def checked(listed: Sequence[Listed], told: int | None) -> list[Listed]:
    """A study's files, each once.

    Args:
        listed: as the archive lists them.
        told: how many it has said that there are.

    Raises:
        Refused: two series claim the same file.
        RunError: there are too many, none, or fewer than was said.
    """
    files = list(dict.fromkeys(listed))
    if len({file.uid for file in files}) < len(files):
        raise Refused("duplicate-instance", "the archive lists one SOP Instance UID as two files of a study")
    if len(files) > _MOST_INSTANCES:
        raise RunError(f"the archive lists more than {_MOST_INSTANCES} files of a study; see to the archive")
    if len(files) < (told or 1):
        raise RunError(
            f"the archive lists {len(files)} of a study's {told or 'own'} files; is it still being sent "
            "there? Run again then"
        )
    return files


def asks(study: str, listed: Sequence[Listed], missing: Sequence[Listed]) -> Iterator[Ask]:
    """The fewest requests that bring what is ``missing``, and little else."""
    if len(missing) == len(listed):
        yield Ask(study, "STUDY", "", tuple(missing))
        return
    sizes = {series: len(files) for series, files in _by_series(listed)}
    for series, files in _by_series(missing):
        if len(files) == sizes[series]:
            yield Ask(study, "SERIES", series, files)
            continue
        for first in range(0, len(files), _MOST_AT_ONCE):
            yield Ask(study, "IMAGE", series, files[first : first + _MOST_AT_ONCE])


def _by_series(files: Sequence[Listed]) -> Iterator[tuple[str, tuple[Listed, ...]]]:
    for series, of_it in groupby(sorted(files, key=lambda file: file.series), lambda file: file.series):
        yield series, tuple(of_it)
