"""Where an audit log lies: ``<folder>/000001.jsonl``, ``000002.jsonl``, ..., one chain across all of them."""

from collections.abc import Iterator
from pathlib import Path

from federation.errors import AuditError


def audit_file(folder: Path, number: int) -> Path:
    """The log's file ``number``, from 1."""
    return folder / f"{number:06d}.jsonl"


def audit_lines(folder: Path) -> Iterator[bytes]:
    """The lines of the log in ``folder``, each without its end; none where nothing was written yet.

    Raises:
        AuditError: there is no such folder, a file cannot be read, or a line was broken off.
    """
    if not folder.is_dir():
        raise AuditError(f"{folder} is no folder of an audit log; give the one that holds 000001.jsonl")
    for path in sorted(folder.glob("[0-9]*.jsonl")):
        try:
            content = path.read_bytes()
        except OSError as error:
            raise AuditError(f"{path} cannot be read ({error.strerror})") from error
        *lines, rest = content.split(b"\n")
        yield from lines
        if rest:
            raise AuditError(
                f"{path} ends within a line; the {len(rest)} bytes were never acknowledged, and are cut away "
                "when the custodian starts: copy the log after that"
            )
