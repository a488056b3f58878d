"""Rosters and sites' keys as files; they may travel any way, since they are signed or compared as words."""

from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from federation.command_line import printable
from federation.errors import DataError, SecureSumError
from federation.files import write_whole
from federation.schema import Frozen
from federation.secure_sum.roster import Roster, SiteKey

Schema = TypeVar("Schema", bound=Frozen)


def read_roster(path: Path) -> Roster:
    """The roster at ``path``, which bears the signature of the coordinator that it names.

    Raises:
        DataError: it cannot be read, is none, or is not signed.
    """
    roster = _read(path, Roster, "roster")
    try:
        roster.require_genuine()
    except SecureSumError as error:
        raise DataError(f"{path}: {error}") from error
    return roster


def read_site_key(path: Path) -> SiteKey:
    """What a site has told of itself.

    Raises:
        DataError: it cannot be read, or is none.
    """
    return _read(path, SiteKey, "site's key")


def write_record(path: Path, record: Roster | SiteKey) -> None:
    """Write either of them, whole and durably; it replaces what is there.

    Raises:
        StorageError: the disk did not take it.
    """
    write_whole(path, f"{record.model_dump_json(indent=2)}\n".encode())


def _read(path: Path, kind: type[Schema], what: str) -> Schema:
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); see to it and run again") from error
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, problem["loc"]))
        wrong = printable(f"{place}: {problem['msg']}" if place else problem["msg"])[:300]
        raise DataError(f"{path} is no {what} ({wrong}); take another copy of it") from error
