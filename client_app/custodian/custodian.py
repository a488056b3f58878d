"""The custodian: answers a few typed requests, and checks before it computes.

The order: does everybody else know this site's log as it is, does the policy allow the study, have the
hospital's people agreed to it, was its protection rehearsed (before any data are opened), is the cohort large
enough of those who consent and have budget left, is the model sound, is the round unspent (charged on disk),
then train, then may the result leave, and only then release it. What goes into a secure sum has its round
burnt on disk before it is charged. One request at a time; people approve, revoke and withdraw beside it.
"""

import hashlib
import logging
import uuid
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Literal, cast

from client_app.custodian.answers import Answer, Answers
from client_app.custodian.approvals import Approvals, require_within_cap
from client_app.custodian.audit_log import AuditLog
from client_app.custodian.keys import SiteKeys
from client_app.custodian.ledger.budget import Charge
from client_app.custodian.ledger.ledger import Ledger
from client_app.custodian.opening import Opened, Opener, Takers
from client_app.custodian.pinned_roster import PinnedRoster
from client_app.custodian.policy import Decision, Facts, decide
from client_app.custodian.release import MOST_REASON, REASON_STAYS, Terms, as_rule, require_releasable
from client_app.custodian.sums import Sums
from client_app.custodian.witness import Witness
from client_app.custodian.work import Evaluation, Training, Work
from client_app.site import SiteConfig
from federation.audit_log import Fact
from federation.errors import DataError, RefusedError, SecureSumError, WardroundError
from federation.files import sync_below
from federation.messages import (
    DescribeReply,
    DescribeRequest,
    EvaluateRequest,
    KeysReply,
    KeysRequest,
    RefusalReply,
    Reply,
    Request,
    TrainRequest,
    UnmaskReply,
    UnmaskRequest,
)
from federation.secure_sum.messages import Agreement, MaskedVector, RoundRequest
from federation.secure_sum.roster import Members
from federation.secure_sum.states import Sent
from federation.secure_sum.states import Training as BegunRound
from federation.secure_sum.transcript import Words
from federation.site_store import Standing, standing
from federation.study import Study
from federation.sums import plan_of

log = logging.getLogger("wardround.custodian")


class Custodian:
    """One hospital's custodian.

    Args:
        config: the hospital's own settings.
        folder: where it keeps what must outlive the process.
        keys: the hospital's own.

    Raises:
        LedgerError: the ledger is not whole, not this site's, or older than the audit log.
        AuditError: the audit log is not whole, or older than the ledger.
        StorageError: the disk does not take what lies there.

    Attributes:
        config: the hospital's own settings.
        ledger: who spent what.
        audit: what has happened here.
        approvals: what the hospital's people have agreed to.
        roster: the members of the federation, whose keys the hospital's people have pinned.
    """

    def __init__(self, config: SiteConfig, folder: Path, keys: SiteKeys) -> None:
        self.config = config
        self._folder = folder
        self._keys = keys
        self.ledger = Ledger(folder / "ledger.sqlite", keys.owner)
        # Not the ledger's own files: it commits when it is opened, and closing them drops SQLite's locks.
        sync_below(folder, but="ledger.sqlite*")
        self.audit = AuditLog(folder / "audit", config.name, keys.identity)
        self._witness = Witness(self.audit, self.ledger)
        self.approvals = Approvals(
            self.ledger,
            self.audit,
            by_configuration=config.approval == "configuration",
            today=lambda: self._witness.now().date(),
        )
        self.roster = PinnedRoster(folder)
        self._opener = Opener(config, keys, self.ledger, self.judge)
        self._opened: Opened | None = None
        # Which study, and who had withdrawn; and how the store stood. Of any other it is opened anew.
        self._opened_as: tuple[str, frozenset[str]] | None = None
        self._seen = Standing()
        # Two requests at once could both find a round unspent, and mix their models in one network.
        self._turn = Lock()

    def handle(self, request: Request) -> Reply:
        """Answer ``request``.

        A rule's refusal is answered with its reason. Of any other failure only the kind is told, since its
        text may speak of patients or paths; the site's log has it all under the reply's reference.
        """
        with self._turn:
            try:
                reply = self._answer(request)
            except RefusedError as refusal:
                reply = self._refusal(request, "refused", refusal.rule, str(refusal))
            except SecureSumError as refusal:  # of sites and keys; it knows nothing of patients
                reply = self._refusal(request, "refused", f"secure-sum-{refusal.check}", str(refusal))
            except WardroundError as error:
                reply = self._refusal(request, "failed", type(error).__name__, REASON_STAYS)
            except Exception as error:
                rule = f"unexpected-{as_rule(type(error).__name__)}"
                reply = self._refusal(request, "failed", rule, REASON_STAYS)
            return reply.model_copy(update={"heads": self._witness.heads})

    def judge(
        self,
        study: Study,
        seen: Standing | None = None,
        takers: Takers | None = None,
        held_out: int | None = None,
    ) -> Decision:
        """What the policy says now; without the patients, only about the study.

        ``seen`` is the store's standing, where it was looked at just before.
        """
        facts = Facts(
            site=self.config.name,
            now=self._witness.now(),
            patients=None if takers is None else takers.learning.patient_count,
            classes=None if takers is None else takers.classes,
            declared=None if takers is None else takers.declared,
            held_out=held_out,
            consent_asked=(seen or standing(self.config.data.folder)).asked,
        )
        return decide(self.config.policy, study, facts)

    def withdraw(self, patients: Collection[str], by: str) -> tuple[int, int]:
        """Leave patients out of every round that is not charged yet; it waits for no round under way.

        Args:
            patients: as the hospital's data name them, known here or not.
            by: who says so.

        Returns:
            How many had not withdrawn before, and how many of all of them were ever in a study here.
        """
        pseudonyms = {self._keys.pseudonym(patient) for patient in patients}
        count = self.ledger.consent.withdraw(pseudonyms)
        self.audit.append("withdrawn", by, facts={"patients": count})
        return count, len(pseudonyms.intersection(self.ledger.budget.histories()))

    def _answer(self, request: Request) -> Reply:
        self._witness.require(request)
        opened = self._open(request.study)
        self._witness.keep(request)
        match request:
            case DescribeRequest():
                return self._describe(opened, request)
            case KeysRequest():
                return self._keys_of(opened, request)
            case UnmaskRequest():
                return self._unmask(opened, request)
            case TrainRequest():
                return self._carry_out(opened, request, Training(request.study, request))
            case EvaluateRequest():
                return self._evaluate(opened, request)

    def _open(self, study: Study) -> Opened:
        """Ask policy and people, every time, and load what the study needs, until somebody leaves, once."""
        seen = standing(self.config.data.folder)
        self.judge(study, seen).require()
        self.approvals.require(study)
        if study.secure_sum is not None:
            self._members(study)  # before anything is set aside for sums that cannot be made
        opened_as = study.id, self.ledger.consent.withdrawn
        if self._opened is None or self._opened_as != opened_as or not seen.has_all_of(self._seen):
            self._opened = None
            self._end_expired()
            self._opened = self._opener.open(study, seen)
            self._opened_as, self._seen = opened_as, seen
        self.judge(study, seen, self._opened.takers).require()
        return self._opened

    def _end_expired(self) -> None:
        """Give back what studies hold whose last day is over: nothing can be charged to them any more."""
        today = self._witness.now().date()
        for proposal in self.ledger.studies.all():
            last_day = proposal.study.expires
            if last_day is not None and today > last_day:
                self.ledger.budget.end(proposal.study.id)

    def _describe(self, opened: Opened, request: DescribeRequest) -> Reply:
        takers = opened.takers
        reply = DescribeReply(
            site=self.config.name, declared_patients=takers.declared, description=takers.description
        )
        terms = Terms(self.config.name, description=takers.description, declared_patients=takers.declared)
        return require_releasable(reply, request, terms)

    def _evaluate(self, opened: Opened, request: EvaluateRequest) -> Reply:
        if request.study.evaluation is None:
            raise RefusedError("not-in-the-study", "the study asks for no evaluation")
        work = Evaluation(request.study, request, self._keys.noise)
        if not self.ledger.budget.started(request.study.id, work.part):
            self._require_within_cap(work, work.cost.steps)
        opened.held_out()  # sets aside what it costs them
        return self._carry_out(opened, request, work)

    def _require_within_cap(self, work: Work, steps: int) -> None:
        approval = self.approvals.require(work.study)
        require_within_cap(approval, work.promised, lambda: work.epsilon_after(steps))

    def _carry_out(self, opened: Opened, request: TrainRequest | EvaluateRequest, work: Work) -> Reply:
        """Charge, compute, keep, and release, in this order; what was kept before is not computed again."""
        work.require_sound(opened)
        with Answers(self._folder, work.study.id, work.part).alone():
            reply, terms, charge, sha256 = (
                self._by_itself(opened, request, work)
                if work.sum is None
                else self._into_sum(opened, request, work, work.sum)
            )
            released = require_releasable(reply, request, terms)
            if charge.released is None:
                self._note("released", request, {"charge": charge.number, "sha256": sha256})
                self.ledger.budget.release(charge.number, sha256, self.audit.mark)
            if work.is_last:
                self.ledger.budget.end(work.study.id, work.part)
        return released

    def _by_itself(
        self, opened: Opened, request: TrainRequest | EvaluateRequest, work: Work
    ) -> tuple[Reply, Terms, Charge, str]:
        answers = Answers(self._folder, work.study.id, work.part)
        charge = self._charge(opened, request, work)
        # Whoever withdrew before the charge is not in it, so nothing must be computed on them.
        opened = self._open(work.study)
        answer = answers.last
        if answer is None or answer.round != work.round:
            if charge.released is not None:  # computed anew it would differ, under the same noise
                raise DataError(f"the answer to charge {charge.number} has left, and is lost here")
            answer = self._computed(opened, work, answer)
            answers.remember(answer)
        reply, terms = work.reply(self.config.name, opened, charge, answer)
        return reply, terms, charge, hashlib.sha256(answer.released.tobytes()).hexdigest()

    def _into_sum(
        self, opened: Opened, request: TrainRequest | EvaluateRequest, work: Work, question: RoundRequest
    ) -> tuple[Reply, Terms, Charge, str]:
        """The same, masked: the round is burnt first, so that nothing else is ever masked in it."""
        sums = self._sums(opened)
        begun = sums.begin(question, bytes.fromhex(work.asked))
        charge = self._charge(opened, request, work)
        opened = self._open(work.study)
        if not isinstance(begun, Sent) and charge.released is not None:
            # Its state was lost: in a second sum the same noise would be known, and be taken off.
            raise DataError(f"the answer to charge {charge.number} has left, and is lost here")
        masked = begun.sent if isinstance(begun, Sent) else self._masked(opened, work, sums, begun)
        reply, terms = work.masked_reply(self.config.name, opened, charge, masked)
        return reply, terms, charge, masked.commitment.vector.hex()

    def _masked(self, opened: Opened, work: Work, sums: Sums, begun: BegunRound) -> MaskedVector:
        answers = Answers(self._folder, work.study.id, work.part)
        answer = self._computed(opened, work, answers.last)
        if answer.optimizer:
            # Its numbers are nobody's business once they are masked.
            answers.remember(replace(answer, released=answer.released[:0]))
        return sums.mask(begun, cast(Words, answer.released))

    def _members(self, study: Study) -> Members:
        """Whom the study sums over, by their keys.

        Raises:
            RefusedError: no roster is pinned.
            SecureSumError: it does not have all of the study's participants.
        """
        roster = self.roster.read()
        if roster is None:
            raise RefusedError("no-roster", "this hospital has pinned no roster of the federation yet")
        return roster.only(study.participants)

    def _sums(self, opened: Opened) -> Sums:
        """The site's part in the sums of a study.

        Raises:
            RefusedError: the study has none.
        """
        study = opened.study
        if study.secure_sum is None:
            raise RefusedError("not-in-the-study", "the study has no secure sums")
        members = self._members(study)
        plan = plan_of(study, members, opened.training.trainable)
        return Sums(self._folder, plan, members, self.config.name, self._keys.identity)

    def _keys_of(self, opened: Opened, request: KeysRequest) -> Reply:
        with Answers(self._folder, request.study.id, "train").alone():
            sums = self._sums(opened)
            advert = sums.advertise(request.question)
        self._note("joined", request, {"plan": sums.plan.digest.hex()})
        reply = KeysReply(site=self.config.name, advert=advert)
        return require_releasable(reply, request, Terms(self.config.name, said=advert))

    def _unmask(self, opened: Opened, request: UnmaskRequest) -> Reply:
        with Answers(self._folder, request.study.id, "train").alone():
            answer = self._sums(opened).unmask(request.question)
        survivors = ", ".join(request.question.survivors)
        self._note("signed" if isinstance(answer, Agreement) else "opened", request, {"survivors": survivors})
        reply = UnmaskReply(site=self.config.name, answer=answer)
        return require_releasable(reply, request, Terms(self.config.name, said=answer))

    def _charge(self, opened: Opened, request: TrainRequest | EvaluateRequest, work: Work) -> Charge:
        """Charge the work on disk, and write that into the log, before anything is computed."""
        study, budget = work.study, self.ledger.budget
        before = budget.last(study.id, work.part)
        again = before is not None and (before.round, before.asked) == (work.round, work.asked)
        if not again:
            self._require_within_cap(work, work.cost.steps + (0 if before is None else before.steps))
        charge = budget.reserve(
            study.id,
            work.part,
            round_number=work.round,
            asked=work.asked,
            cost=work.cost,
            log=self.audit.mark,
        )
        if not again:
            facts: dict[str, Fact] = {"charge": charge.number, "steps": charge.steps, "model": work.asked}
            if opened.version:
                facts["data"] = opened.version
            self._note("reserved", request, facts)
        return charge

    def _computed(self, opened: Opened, work: Work, before: Answer | None) -> Answer:
        try:
            return work.compute(opened, before)
        except BaseException:
            self._opened = None  # what broke off half-way is not used again
            raise

    def _refusal(
        self, request: Request, kind: Literal["refused", "failed"], rule: str, reason: str
    ) -> RefusalReply:
        reference = uuid.uuid4().hex[:12]
        told = f"{self.config.name}: {kind} by {rule}, reference {reference}"
        log.warning("%s", told, exc_info=kind == "failed")  # a rule's name says all there is to say
        reason = reason[:MOST_REASON]  # it repeats what a stranger wrote
        reply = RefusalReply(site=self.config.name, kind=kind, rule=rule, reason=reason, reference=reference)
        require_releasable(reply, request, Terms(self.config.name))
        try:
            self._note(kind, request, {"reference": reference}, rule=rule)
        except WardroundError:  # a disk that is full must not hide why
            log.warning("%s: the audit log could not be extended", self.config.name, exc_info=True)
        return reply

    def _note(
        self,
        event: Literal["joined", "reserved", "released", "signed", "opened", "refused", "failed"],
        request: Request,
        facts: dict[str, Fact],
        rule: str = "",
    ) -> None:
        self.audit.append(
            event,
            "coordinator",
            rule=rule,
            study=request.study.id,
            round_number=_round_of(request),
            facts=facts,
        )


def _round_of(request: Request) -> int | None:
    match request:
        case TrainRequest():
            return request.round
        case UnmaskRequest():
            return request.question.round
    return None
