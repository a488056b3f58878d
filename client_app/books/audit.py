"""The audit log as it lies there, read beside a custodian that may be writing to it."""

import fcntl
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from client_app.books.findings import Finding
from client_app.custodian.keys import SiteKeys
from client_app.site import HospitalConfig
from federation.audit_files import audit_lines
from federation.audit_log import AuditEntry, AuditHead, Link, read_chain, require_heads
from federation.command_line import printable
from federation.errors import AuditError, StorageError, WardroundError

_SHORT = 12


def log_folder(config: HospitalConfig) -> Path:
    """Where the hospital's log lies."""
    return config.service.folder / "audit"


def read_log(folder: Path) -> list[Link]:
    """The whole log, verified from its first entry on.

    Raises:
        AuditError: it is not one unbroken chain, and at which line.
        StorageError: it cannot be read.
    """
    with _between_writes(folder / "lock"):
        lines = list(audit_lines(folder))
    return read_chain(lines)  # which takes longer than a custodian should have to wait


def log_findings(config: HospitalConfig, held: Sequence[Path] = ()) -> Iterator[Finding]:
    """Look at the hospital's log.

    Args:
        config: the hospital's.
        held: files of heads that others keep, a coordinator's ``audit-heads.jsonl``.
    """
    try:
        log = read_log(log_folder(config))
    except WardroundError as error:
        yield Finding("chain", "problem", str(error), "restore the newest copy of the audit log")
        return
    ends = f", the last with the hash {log[-1].hash[:_SHORT]}" if log else ""
    yield Finding("chain", "ok", f"{len(log)} entries, each follows from the one before{ends}")
    try:
        identity = SiteKeys.found_in(config.service.folder).identity
    except WardroundError as error:
        yield Finding("identity", "problem", str(error), "restore the keys that belong to this log")
        return
    key = _public(identity)
    yield Finding("identity", "ok", f"{config.name} signs with the key {key[:_SHORT]}…")
    yield _peers(config.name, log)
    for file in held:
        yield _held(config.name, key, log, file)


def audit_table(links: Iterable[Link]) -> Table:
    """A row for each entry."""
    table = Table(box=SIMPLE_HEAD)
    for name in ("entry", "time (UTC)", "by", "event", "rule", "study", "round", "facts"):
        table.add_column(name, overflow="fold")
    for entry, _ in links:
        table.add_row(
            str(entry.sequence),
            f"{entry.time:%Y-%m-%d %H:%M:%S}",
            *(escape(printable(text)) for text in (entry.actor, entry.event, entry.rule)),
            escape(printable(entry.study[:_SHORT])),
            "" if entry.round is None else str(entry.round),
            escape(printable(_facts(entry))),
        )
    return table


def _peers(site: str, log: Sequence[Link]) -> Finding:
    """What other hospitals have signed, as this one wrote it down."""
    newest: dict[str, AuditHead] = {}
    for entry, _ in log:
        for fact in entry.facts.values() if entry.event == "heads" else ():
            try:
                head = AuditHead.model_validate_json(str(fact))
            except ValidationError:
                head = None
            if head is None or head.site == site or not head.genuine:
                return Finding(
                    "peers",
                    "problem",
                    f"entry {entry.sequence} holds a head that no other hospital has signed",
                    "ask whoever runs the custodian what wrote it",
                )
            newest[head.site] = head
    known = ", ".join(f"{name} up to its entry {head.sequence}" for name, head in sorted(newest.items()))
    return Finding("peers", "ok", f"this log can prove: {known}" if known else "no head of another hospital")


def _held(site: str, key: str, log: Sequence[Link], file: Path) -> Finding:
    """Hold the log against what somebody else has kept of it."""
    try:
        heads = [head for head in _read_heads(file) if head.site == site]
        for head in heads:
            if head.key != key:
                raise AuditError(
                    f"the head of {site} at entry {head.sequence} bears the key {head.key[:_SHORT]}…, not "
                    "this hospital's"
                )
        require_heads([link.hash for link in log], heads)
    except AuditError as error:
        remedy = "restore the newest copy; if that is this one, ask whoever keeps the heads"
        return Finding(file.name, "problem", str(error), remedy)
    if not heads:
        return Finding(file.name, "warning", f"{file} holds no head of {site}", "ask for the right file")
    last = max(head.sequence for head in heads)
    return Finding(file.name, "ok", f"{len(heads)} heads of {site}, up to entry {last}: the log has them all")


def _read_heads(file: Path) -> list[AuditHead]:
    try:
        *lines, _ = file.read_bytes().split(b"\n")  # what has no end yet is still being written
        return [AuditHead.model_validate_json(line) for line in lines]
    except OSError as error:
        raise AuditError(f"{file} cannot be read ({error.strerror})") from error
    except ValidationError as error:
        raise AuditError(f"{file} is no file of audit heads: {error.errors()[0]['msg']}") from error


def _facts(entry: AuditEntry) -> str:
    """Shortly: of a hash its beginning, of a head how far it goes."""
    if entry.event == "heads":
        return f"signed by {', '.join(sorted(entry.facts))}"
    return ", ".join(
        f"{name}={value[:_SHORT] + '…' if isinstance(value, str) and len(value) == 64 else value}"
        for name, value in entry.facts.items()
    )


def _public(identity: Ed25519PrivateKey) -> str:
    return identity.public_key().public_bytes_raw().hex()


@contextmanager
def _between_writes(lock: Path) -> Iterator[None]:
    """While nobody appends; the lock itself is only read, and there is none before the first entry."""
    try:
        file = lock.open("rb")
    except FileNotFoundError:
        yield
        return
    except OSError as error:
        raise StorageError(f"{lock} cannot be read ({error.strerror}); run as the custodian does") from error
    with file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield
