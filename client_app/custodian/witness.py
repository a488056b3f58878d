"""Whether this site's memory is whole: the ledger, the audit log, the clock, and what others hold of them.

The ledger's charges say where the log then ended, and the log names every charge, so neither can be put back
alone. Both together are told by the others: each request brings the last heads of this site's log that the
coordinator and the other hospitals hold, and a log that lacks one of them was put back or cut.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta

from client_app.custodian.audit_log import AuditLog
from client_app.custodian.ledger.budget import Charge
from client_app.custodian.ledger.ledger import Ledger
from federation.audit_log import AuditEntry, AuditHead, Fact
from federation.errors import AuditError, LedgerError, RefusedError
from federation.messages import MOST_HEADS, Request

# Clocks are set right by a little all the time.
CLOCK_MAY_GO_BACK = timedelta(minutes=5)


class Witness:
    """See the module.

    Args:
        audit: the site's log.
        ledger: the site's.

    Raises:
        AuditError: the log ends before one of the ledger's charges.
        LedgerError: the log names a charge that the ledger does not have.
    """

    def __init__(self, audit: AuditLog, ledger: Ledger) -> None:
        self._audit = audit
        self._peers: dict[str, AuditHead] = {}
        self._reconcile(ledger)

    def _reconcile(self, ledger: Ledger) -> None:
        entries = list(self._audit.entries())
        for entry in entries:
            if entry.event == "heads":
                self._remember(AuditHead.model_validate_json(str(head)) for head in entry.facts.values())
        # A process that died between the two has charged what the log does not tell yet.
        for charge in untold(told_charges(entries), ledger.budget.charges(), self._audit.has):
            self._audit.append(
                "recovered",
                "custodian",
                study=charge.study,
                round_number=charge.round,
                facts={"charge": charge.number},
            )

    @property
    def heads(self) -> tuple[AuditHead, ...]:
        """This site's head and the newest that it holds of the others, as many as a record may have."""
        return (self._audit.head, *tuple(self._peers.values())[1 - MOST_HEADS :])

    def now(self) -> datetime:
        """The time, which never goes back behind what the log has seen: what has expired stays so."""
        latest = self._audit.latest
        now = datetime.now(UTC)
        return now if latest is None else max(now, latest)

    def require(self, request: Request) -> None:
        """Look at what others hold of this site.

        Raises:
            RefusedError: the log lacks an entry that others have seen, or the clock was set back.
        """
        latest = self._audit.latest
        if latest is not None and datetime.now(UTC) < latest - CLOCK_MAY_GO_BACK:
            raise RefusedError(
                "clock-set-back", f"this hospital's clock stands before its own log, which ends at {latest}"
            )
        own = self._audit.head
        for head in request.heads:
            if head.site == own.site and not self._audit.holds(head):
                raise RefusedError(
                    "audit-log-behind",
                    f"others hold entry {head.sequence} of this hospital's audit log, which lacks it; "
                    "an older copy was restored, and whoever runs the hospital restores the newest",
                )

    def keep(self, request: Request) -> None:
        """Write down what is new of the logs of those who take part in a study that was agreed to.

        Anybody can sign heads of hospitals that nobody knows: of a stranger's, none is kept.
        """
        own, participants = self._audit.head.site, request.study.participants
        others = [head for head in request.heads if head.site != own and head.site in participants]
        news = [head for head in others if self._is_news(head) and head.genuine]
        if news:
            facts: dict[str, Fact] = {head.site: head.model_dump_json() for head in news}
            self._audit.append("heads", "coordinator", facts=facts)
            self._remember(news)

    def _is_news(self, head: AuditHead) -> bool:
        known = self._peers.get(head.site)
        return known is None or known.key != head.key or head.sequence > known.sequence

    def _remember(self, heads: Iterable[AuditHead]) -> None:
        for head in heads:
            self._peers.pop(head.site, None)  # so that the newest stand last
            self._peers[head.site] = head


def told_charges(entries: Iterable[AuditEntry]) -> frozenset[int]:
    """The numbers of the charges that an audit log tells of."""
    return frozenset(int(entry.facts["charge"]) for entry in entries if "charge" in entry.facts)


def untold(told: Collection[int], charges: Sequence[Charge], has: Callable[[int, str], bool]) -> list[Charge]:
    """Hold ledger and audit log against each other; the charges that the log does not tell of yet.

    Args:
        told: the numbers of the charges that the log told of, not later than ``charges`` were read.
        charges: all that the ledger has.
        has: whether the log has an entry of this number and hash, not earlier than ``charges`` were read.

    Raises:
        AuditError: the log lacks an entry that the ledger has seen.
        LedgerError: the log tells of a charge that the ledger does not have.
    """
    lacking = sorted(set(told).difference(charge.number for charge in charges))
    if lacking:
        raise LedgerError(
            f"the audit log tells of charge {lacking[0]}, which is not among the ledger's {len(charges)}: it "
            "is an older copy; restore the newest one"
        )
    for charge in charges:
        if not has(*charge.log):
            raise AuditError(
                f"the audit log lacks entry {charge.log[0]}, at which the ledger made charge "
                f"{charge.number}: it is an older copy or was changed; restore the newest"
            )
    return [charge for charge in charges if charge.number not in told]
