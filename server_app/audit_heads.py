"""The coordinator's book of heads: how far each hospital's audit log had come, in the hospital's own hand."""

from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from federation.audit_log import AuditHead
from federation.errors import AuditError, MessageError
from federation.files import append_line, locked, write_whole

HEADS_FILE = "audit-heads.jsonl"


class HeadBook:
    """An append-only book of hospitals' audit heads, one a line; several runs may write to it.

    The key of a hospital's first head is the one that all its later heads must bear. Replies are expected in
    the order in which the hospital signed them: of two runs that share a book and ask one hospital at the
    same moment, the one that is told later may find the head of the other already there, and take its own for
    one that went back.

    Args:
        path: the file; an absent one is an empty book.

    Raises:
        AuditError: it holds something else than genuine heads, one key a hospital.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0  # how far the file was read
        self._heads: dict[AuditHead, None] = {}  # in the order of the file, each once
        self._newest: dict[str, AuditHead] = {}
        self._read_on()

    @property
    def known(self) -> tuple[AuditHead, ...]:
        """The newest head of each hospital."""
        return tuple(self._newest.values())

    @property
    def heads(self) -> tuple[AuditHead, ...]:
        """Every head that was ever noted, the oldest first."""
        return tuple(self._heads)

    def note(self, site: str, heads: Iterable[AuditHead]) -> None:
        """Take down the heads that came with a reply of ``site``: its own, and newer ones of its peers.

        What the hospital has signed is kept even where it contradicts what it signed before, since it proves
        just that.

        Raises:
            MessageError: its own head is missing, not genuine, of another key, went back or forked.
            StorageError: the disk did not take them.
        """
        with locked(self._path.with_suffix(".lock"), wait=True):
            self._read_on()
            self._cut_off()
            known = self._newest.get(site)
            own = _own_head(site, heads)
            _check_key(own, known)
            self._record(own)
            for head in heads:
                if head.site != site and self._is_news(head):
                    self._record(head)
        if known is not None:
            _check_order(own, known)

    def _is_news(self, head: AuditHead) -> bool:
        """Whether a peer's head tells more than ours: a longer log, or another one of the same length."""
        newest = self._newest.get(head.site)
        if newest is None or head.key != newest.key or head.sequence < newest.sequence:
            return False
        return head not in self._heads and head.genuine

    def _record(self, head: AuditHead) -> None:
        if head not in self._heads:
            line = head.model_dump_json()
            append_line(self._path, line)
            self._offset += len(line.encode()) + 1
            self._enter(head)

    def _enter(self, head: AuditHead) -> None:
        self._heads[head] = None
        newest = self._newest.get(head.site)
        if newest is None or head.sequence > newest.sequence:
            self._newest[head.site] = head

    def _read_on(self) -> None:
        """Take in what was written since; a line that has no end yet is none."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            *lines, _ = file.read().split(b"\n")
        for line in lines:
            try:
                head = AuditHead.model_validate_json(line)
                _check_key(head, self._newest.get(head.site))
            except (ValidationError, MessageError) as error:
                raise AuditError(
                    f"{self._path}: line {len(self._heads) + 1} is not a head that belongs there ({error}); "
                    "restore the book"
                ) from error
            self._offset += len(line) + 1
            self._enter(head)

    def _cut_off(self) -> None:
        """Cut away a last line that a power cut broke off; under the lock nobody is writing it."""
        if self._path.exists() and self._path.stat().st_size > self._offset:
            write_whole(self._path, self._path.read_bytes()[: self._offset])


def _own_head(site: str, heads: Iterable[AuditHead]) -> AuditHead:
    own = [head for head in heads if head.site == site]
    if not own:
        raise MessageError(f"{site} sent no head of its audit log; it has to with every reply")
    return max(own, key=lambda head: head.sequence)


def _check_key(head: AuditHead, known: AuditHead | None) -> None:
    if not head.genuine:
        raise MessageError(f"the audit head of {head.site} does not bear its signature")
    if known is not None and head.key != known.key:
        raise MessageError(
            f"{head.site}'s identity changed from key {known.key[:12]} to {head.key[:12]}; if the hospital "
            "says itself that it was set up anew, begin a new book of heads (heads=PATH)"
        )


def _check_order(head: AuditHead, known: AuditHead) -> None:
    if head.sequence < known.sequence:
        raise MessageError(
            f"{head.site}'s audit log went back from entry {known.sequence} to {head.sequence}; ask the "
            "hospital, and see wardround-coordinator audit verify"
        )
    if head.sequence == known.sequence and head.hash != known.hash:
        raise MessageError(
            f"{head.site}'s audit log has two different entries {known.sequence}, both signed; ask the "
            "hospital, and see wardround-coordinator audit verify"
        )
