"""Records that travel between parties as JSON files, by whatever way."""

from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from federation.command_line import printable
from federation.errors import DataError
from federation.files import write_whole
from federation.schema import Frozen

Schema = TypeVar("Schema", bound=Frozen)

_MOST_BYTES = 4 * 2**20


def read_record(path: Path, kind: type[Schema], what: str, most_bytes: int = _MOST_BYTES) -> Schema:
    """The record in ``path``, which comes from strangers.

    Args:
        path: the file.
        kind: of record.
        what: it is called.
        most_bytes: that it may have.

    Raises:
        DataError: it cannot be read, or is none; what is wrong is named, without its value.
    """
    try:
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); see to it and run again") from error
    if len(content) > most_bytes:
        raise DataError(f"{path} is no {what} (it has more than {most_bytes} bytes); take another copy of it")
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, problem["loc"]))
        said = problem["msg"].removeprefix("Value error, ")
        wrong = printable(f"{place}: {said}" if place else said)[:300]
        raise DataError(f"{path} is no {what} ({wrong}); take another copy of it") from error


def write_record(path: Path, record: Frozen, mode: int = 0o666) -> None:
    """Write a record, whole and durably, as ``write_whole`` does; it replaces what is there.

    Raises:
        StorageError: the disk did not take it.
    """
    write_whole(path, f"{record.model_dump_json(indent=2)}\n".encode(), mode)
