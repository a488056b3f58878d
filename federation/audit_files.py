"""Where an audit log lies: ``<folder>/000001.jsonl``, ``000002.jsonl``, ..., one chain across all of them."""

from collections.abc import Iterator
from pathlib import Path

from federation.errors import AuditError


def audit_file(folder: Path, number: int) -> Path:
    """The log's file ``number``, from 1."""
    return folder / f"{number:06d}.jsonl"


def audit_lines(folder: Path) -> Iterator[bytes]:
    """The lines of the log in ``folder``, each without its end.

    Raises:
        AuditError: there is no log, it cannot be read, or a line was broken off.
    """
    paths = sorted(folder.glob("[0-9]*.jsonl"))
    if not paths:
        raise AuditError(f"{folder} holds no audit log; there is no file 000001.jsonl in it")
    for path in paths:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise AuditError(f"{path} cannot be read ({error.strerror})") from error
        *lines, rest = content.split(b"\n")
        yield from lines
        if rest:
            raise AuditError(
                f"{path} ends within a line, in {len(rest)} bytes that its custodian never acknowledged; it "
                "cuts them away when it starts, so copy the log after that"
            )
