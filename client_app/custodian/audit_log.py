"""What a hospital writes down of all that was asked of it and decided; see ``federation.audit_log``."""

import secrets
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federation.audit_files import audit_file, audit_lines
from federation.audit_log import (
    BEFORE_THE_FIRST,
    AuditEntry,
    AuditHead,
    Event,
    Fact,
    follow_chain,
    hash_of,
    sign_head,
)
from federation.errors import AuditError, StorageError
from federation.files import append_line, locked, write_whole

_MIB = 2**20
# Who stands behind the entry that tells of a line that was cut away.
_ITSELF = "audit log"


class AuditLog:
    """The audit log of one hospital; several processes may write to one folder.

    An entry is on disk before ``append`` returns it. A line that a power cut broke off was never
    acknowledged: it is cut away, and an entry ``recovered`` says so.

    Args:
        folder: where its files lie.
        site: the hospital's name.
        identity: what it signs heads with.
        most_bytes: a file that holds more is not written to again, unless it holds nothing.

    Raises:
        AuditError: what lies there is not one unbroken chain.
        StorageError: the folder cannot be written.
    """

    def __init__(
        self, folder: Path, site: str, identity: Ed25519PrivateKey, most_bytes: int = 16 * _MIB
    ) -> None:
        self._folder = folder
        self._site = site
        self._identity = identity
        self._most_bytes = most_bytes
        self._number, self._offset = 1, 0  # how far the files were read
        self._hashes: list[str] = []
        self._latest: datetime | None = None
        self._head = sign_head(identity, site, 0, BEFORE_THE_FIRST)
        self._up_to_date()

    @property
    def head(self) -> AuditHead:
        """How far the log goes, signed."""
        self._up_to_date()
        head, count = self._head, len(self._hashes)  # another thread may append from here on
        if head.sequence != count:
            self._head = head = sign_head(self._identity, self._site, count, self._hashes[count - 1])
        return head

    @property
    def mark(self) -> tuple[int, str]:
        """Sequence and hash of the last entry, unsigned."""
        head = self.head
        return head.sequence, head.hash

    @property
    def latest(self) -> datetime | None:
        """The latest time that any entry tells, by the hospital's clock then; None for an empty log."""
        self._up_to_date()
        return self._latest

    def holds(self, head: AuditHead) -> bool:
        """Whether this log signed ``head`` and still has what it signed."""
        signer = (self._head.site, self._head.key)
        return (head.site, head.key) == signer and head.genuine and self.has(head.sequence, head.hash)

    def has(self, sequence: int, digest: str) -> bool:
        """Whether entry ``sequence`` has this hash; 0 stands for before the first."""
        self._up_to_date()
        if sequence > len(self._hashes):
            return False
        return digest == (self._hashes[sequence - 1] if sequence else BEFORE_THE_FIRST)

    def entries(self) -> Iterator[AuditEntry]:
        """Every entry, the oldest first, read and verified anew.

        Raises:
            AuditError: the chain was broken since.
        """
        self._up_to_date()
        yield from (link.entry for link in follow_chain(audit_lines(self._folder)))

    def append(
        self,
        event: Event,
        actor: str,
        *,
        rule: str = "",
        study: str = "",
        round_number: int | None = None,
        facts: Mapping[str, Fact] | None = None,
    ) -> AuditEntry:
        """Write down that ``actor`` did ``event``; it is on disk when this returns.

        Raises:
            AuditError: somebody has broken the chain since.
            StorageError: the disk did not take it; the log ends where it ended before.
        """
        with locked(self._folder / "lock", wait=True):
            self._read_on()
            entry = self._next(
                event, actor, dict(facts or {}), rule=rule, study=study, round_number=round_number
            )
            line = entry.line()
            number, offset = self._number, self._offset
            if offset > self._most_bytes:
                number, offset = number + 1, 0
            append_line(audit_file(self._folder, number), line)
            self._number, self._offset = number, offset + len(line.encode()) + 1
            self._count(entry, hash_of(line.encode()))
        return entry

    def _next(
        self,
        event: Event,
        actor: str,
        facts: dict[str, Fact],
        *,
        rule: str = "",
        study: str = "",
        round_number: int | None = None,
    ) -> AuditEntry:
        """The entry that would follow; it is not written yet."""
        return AuditEntry(
            sequence=len(self._hashes) + 1,
            time=datetime.now(UTC),
            actor=actor,
            event=event,
            rule=rule,
            study=study,
            round=round_number,
            facts=facts,
            salt=secrets.token_hex(16),
            previous=self._hashes[-1] if self._hashes else BEFORE_THE_FIRST,
        )

    def _count(self, entry: AuditEntry, digest: str) -> None:
        self._hashes.append(digest)
        self._latest = entry.time if self._latest is None else max(self._latest, entry.time)

    def _up_to_date(self) -> None:
        """Take in what other processes have written since."""
        try:
            with locked(self._folder / "lock", wait=True):
                self._read_on()
        except OSError as error:
            raise StorageError(
                f"{self._folder} cannot be used for the audit log ({error.strerror}); let the custodian "
                "write there"
            ) from error

    def _read_on(self) -> None:
        """Read from where reading ended, under the lock, so that a broken line has no writer any more."""
        if not self._hashes:
            self._require_all_files()
        while True:
            path, following = (
                audit_file(self._folder, self._number),
                audit_file(self._folder, self._number + 1),
            )
            size = path.stat().st_size if path.exists() else 0
            if size < self._offset:
                raise AuditError(
                    f"{path} was cut back from {self._offset} to {size} bytes while it was in use; restore it"
                )
            if size > self._offset:
                self._read_file(path)
            if not following.exists():
                return
            self._number, self._offset = self._number + 1, 0

    def _require_all_files(self) -> None:
        """Before the first is read: a gap would otherwise be taken for the end."""
        for number, path in enumerate(sorted(self._folder.glob("[0-9]*.jsonl")), 1):
            if path != audit_file(self._folder, number):
                raise AuditError(
                    f"{audit_file(self._folder, number)} is missing before {path.name}; restore it"
                )

    def _read_file(self, path: Path) -> None:
        with path.open("rb") as file:
            file.seek(self._offset)
            *lines, broken = file.read().split(b"\n")
        # A power cut can keep the end of the last line and lose what stands before; no entry has a zero byte.
        if lines and not broken and b"\0" in lines[-1]:
            broken = lines.pop() + b"\n"
        last = self._hashes[-1] if self._hashes else BEFORE_THE_FIRST
        try:
            for entry, digest in follow_chain(lines, len(self._hashes), last):
                self._count(entry, digest)
        except AuditError as error:
            raise AuditError(f"the audit log in {self._folder} is broken: {error}; restore it") from error
        self._offset += sum(len(line) + 1 for line in lines)
        if broken:
            self._recover(path, broken)

    def _recover(self, path: Path, broken: bytes) -> None:
        """Put an entry in the place of a broken line, at one stroke, so that no cut goes unrecorded."""
        entry = self._next("recovered", _ITSELF, {"bytes": len(broken)})
        line = f"{entry.line()}\n".encode()
        write_whole(path, path.read_bytes()[: self._offset] + line)
        self._offset += len(line)
        self._count(entry, hash_of(line))
