"""Whether this hospital's people have agreed to a study: to this one, with this release, and until when."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime

from client_app.custodian.audit_log import AuditLog
from client_app.custodian.installed import installed_release
from client_app.custodian.ledger.ledger import Ledger
from client_app.custodian.ledger.studies import Approval, Proposal
from federation.audit_log import Fact
from federation.errors import ConfigError, RefusedError
from federation.promise import largest_epsilon
from federation.study import Study


@dataclass(frozen=True)
class Agreement:
    """What somebody at the hospital says yes to.

    Attributes:
        by: who.
        until: the last day.
        epsilon_cap: the most that it may cost a patient; None for what the study itself says.
    """

    by: str
    until: date
    epsilon_cap: float | None = None


class Approvals:
    """The inbox, and who agreed to what.

    Args:
        ledger: where they are kept.
        log: where every one of these steps is written down.
        by_configuration: in a simulation, whoever wrote its configuration agrees to all that comes.
        today: gives the day, UTC.
    """

    def __init__(
        self, ledger: Ledger, log: AuditLog, *, by_configuration: bool, today: Callable[[], date]
    ) -> None:
        self._ledger = ledger
        self._log = log
        self._by_configuration = by_configuration
        self._today = today

    def require(self, study: Study) -> Approval:
        """The approval of ``study``; one that nobody knows goes to the inbox.

        Raises:
            RefusedError: nobody has agreed, or it was taken back, has run out or was for another release.
        """
        if self._ledger.studies.ask(study):
            self._log.append("inbox", "coordinator", study=study.id)
        proposal = self._ledger.studies.find(study.id)
        if self._by_configuration and proposal is not None and proposal.state == "waiting":
            proposal = self.approve(study.id, Agreement(by="configuration", until=date.max))
        if proposal is None or proposal.state == "waiting":
            raise RefusedError(
                "not-approved",
                f"study {study.id[:12]} waits for this hospital's approval; run it again once it has that",
            )
        if proposal.revoked_by is not None or proposal.approval is None:
            # It may have been revoked while it was being opened, just before its cost was set aside.
            self._ledger.budget.end(study.id)
            raise RefusedError("study-revoked", f"this hospital has taken study {study.id[:12]} back")
        if self._today() > proposal.approval.until:
            raise RefusedError("approval-expired", f"the approval ended on {proposal.approval.until}")
        if proposal.approval.release != installed_release(study.task.package):
            raise RefusedError(
                "release-changed",
                f"study {study.id[:12]} was approved with another release of the program than is installed; "
                "it waits for a new approval",
            )
        return proposal.approval

    def approve(self, study_id: str, agreement: Agreement) -> Proposal:
        """Agree to a study; returns it as it then stands.

        Raises:
            ConfigError: there is no such study, it was revoked, or the agreement makes no sense.
        """
        proposal = self._ledger.studies.named(study_id)
        study, cap = proposal.study, agreement.epsilon_cap
        if proposal.state == "revoked":
            raise ConfigError(f"study {study.id[:12]} was revoked for good; propose another")
        if cap is not None and study.privacy.epsilon is None:
            raise ConfigError(
                f"study {study.id[:12]} promises no privacy, so an ε cap of {cap:g} cannot hold"
            )
        if agreement.until < self._today():
            raise ConfigError(f"until={agreement.until} has passed; choose a day to come")
        approval = Approval(
            by=agreement.by,
            at=datetime.now(UTC),
            until=agreement.until,
            epsilon_cap=largest_epsilon(study) if cap is None else cap,
            release=installed_release(study.task.package),
        )
        facts: dict[str, Fact] = {"until": str(approval.until), "release": approval.release}
        if approval.epsilon_cap is not None:
            facts["epsilon_cap"] = approval.epsilon_cap
        # Logged first, so that nothing is ever approved of which the log does not tell.
        self._log.append("approved", agreement.by, study=study.id, facts=facts)
        self._ledger.studies.approve(study.id, approval)
        return self._ledger.studies.named(study.id)

    def revoke(self, study_id: str, by: str) -> Proposal:
        """Take a study back for good, from its next round on; what it had set aside comes back.

        Raises:
            ConfigError: there is no such study.
        """
        study = self._ledger.studies.named(study_id).study
        self._ledger.studies.revoke(study.id, by)
        self._ledger.budget.end(study.id)
        self._log.append("revoked", by, study=study.id)
        return self._ledger.studies.named(study.id)


def require_within_cap(approval: Approval, promised: float | None, spent: Callable[[], float | None]) -> None:
    """Refuse what would cost a patient more than was agreed.

    Args:
        approval: of the study.
        promised: the ε that the whole study may cost; None without privacy.
        spent: tells what has been spent with what is asked for now; is asked only where it matters.

    Raises:
        RefusedError: it would.
    """
    cap = approval.epsilon_cap
    if cap is None or promised is None or promised <= cap:
        return
    epsilon = spent()
    if epsilon is not None and epsilon > cap:
        raise RefusedError(
            "epsilon-cap-reached", f"one more round would cost more than the ε of {cap:g} that was agreed to"
        )
