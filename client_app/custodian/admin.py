"""What only the hospital's own people can ask of the custodian: JSON, on a socket that the relay cannot see.

Nothing here waits for a round that trains: ledger and audit log take what several threads write.
"""

import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from client_app.custodian.approvals import Agreement
from client_app.custodian.custodian import Custodian
from client_app.custodian.installed import installed_release
from client_app.custodian.ledger.cost import Cap, cost_of
from client_app.custodian.ledger.studies import Proposal
from client_app.custodian.web import Limits, Turns, bare_app, read_body, status_of, turns_of
from client_app.desk.questions import (
    Approve,
    AskRoom,
    AskRoster,
    AskStudies,
    AskStudy,
    PinRoster,
    Question,
    Revoke,
    Room,
    RosterState,
    Studies,
    StudyState,
    StudyView,
    Withdraw,
    Withdrawn,
    what_is_wrong,
)
from federation.errors import (
    ConfigError,
    MessageError,
    RefusedError,
    SecureSumError,
    WardroundError,
)
from federation.messages import RefusalReply
from federation.promise import bounded_epsilon
from federation.secure_sum.roster import SiteKey

log = logging.getLogger("wardround.custodian")
Asked = TypeVar("Asked", bound=Question)

ADMIN_LIMITS = Limits(most_bytes=64 * 2**20, seconds=300)


def admin_app(custodian: Custodian, limits: Limits = ADMIN_LIMITS) -> FastAPI:
    """The app for the admin socket.

    ``POST /v1/<operation>`` takes one of the questions of ``client_app.desk.questions`` and answers with what
    belongs to it. What is refused is told in full, since whoever may ask here may read the hospital's logs.
    """
    app = bare_app(limits, _refusal)
    deciding, looking = turns_of(app), Turns(limits)  # so that nobody decides later because somebody looks

    def add(operation: str, kind: type[Asked], work: Callable[[Custodian, Asked], BaseModel]) -> None:
        turns = looking if issubclass(kind, AskStudies | AskStudy | AskRoom | AskRoster) else deciding
        app.add_api_route(
            f"/v1/{operation}", _endpoint(custodian, kind, work, turns, limits), methods=["POST"]
        )

    add("studies", AskStudies, _studies)
    add("study", AskStudy, _study)
    add("room", AskRoom, _room)
    add("approve", Approve, _approve)
    add("revoke", Revoke, _revoke)
    add("withdraw", Withdraw, _withdraw)
    add("roster", AskRoster, _roster)
    add("pin", PinRoster, _pin)
    return app


def _endpoint(
    custodian: Custodian,
    kind: type[Asked],
    work: Callable[[Custodian, Asked], BaseModel],
    turns: Turns,
    limits: Limits,
) -> Callable[[Request], Awaitable[Response]]:
    async def answer(http: Request) -> Response:
        try:
            with turns.place():
                question = _question(kind, await read_body(http, limits))
                body = await turns.run(lambda: work(custodian, question).model_dump_json())
                return Response(body, media_type="application/json")
        except Exception as error:
            return _refusal(error)

    return answer


def _question(kind: type[Asked], body: bytearray) -> Asked:
    try:
        return kind.model_validate_json(bytes(body))
    except ValidationError as error:
        said = what_is_wrong(error)
    raise MessageError(f"no {kind.__name__}: {said}")


def _refusal(error: Exception) -> Response:
    reference, unexpected = uuid.uuid4().hex[:12], None
    match error:
        case RefusedError():
            rule, reason = error.rule, str(error)
        case SecureSumError():
            rule, reason = error.check, str(error)
        case WardroundError():
            rule, reason = type(error).__name__, str(error)
        case HTTPException():
            rule, reason = "not-found", "there is nothing at this path, or not by this method"
        case _:
            rule, reason = f"unexpected-{type(error).__name__}", "the custodian's log says why"
            unexpected = error
    log.warning("admin: not answered, by %s, reference %s", rule, reference, exc_info=unexpected)
    reply = RefusalReply(site="", kind="failed", rule=rule, reason=reason, reference=reference)
    return Response(reply.model_dump_json(), status_of(rule, error), media_type="application/json")


def _studies(custodian: Custodian, _: AskStudies) -> Studies:
    return Studies(studies=tuple(_state(custodian, proposal) for proposal in custodian.ledger.studies.all()))


def _state(custodian: Custodian, proposal: Proposal) -> StudyState:
    study = proposal.study
    charges = [charge for charge in custodian.ledger.budget.charges(study.id) if charge.part == "train"]
    promised = everybody = None if study.privacy.delta is None else 0.0
    if charges and study.privacy.delta is not None:
        # With the noise that was charged: computed anew, it would take seconds for each study.
        cost = charges[-1].cost
        promised, everybody = (
            None
            if noise is None
            else bounded_epsilon(noise, cost.sampling_rate, charges[-1].steps, study.privacy.delta)
            for noise in (cost.noise_coordinator, cost.noise_everybody)
        )
    return StudyState(proposal=proposal, rounds=len(charges), epsilon=promised, epsilon_everybody=everybody)


def _study(custodian: Custodian, question: AskStudy) -> StudyView:
    state = _state(custodian, custodian.ledger.studies.named(question.study))
    study = state.proposal.study
    package = study.task.package
    return StudyView(
        **dict(state),
        decision=custodian.judge(study),
        release=installed_release(package) if package in custodian.config.policy.tasks else None,
    )


def _room(custodian: Custodian, question: AskRoom) -> Room:
    study, budget = custodian.ledger.studies.named(question.study).study, custodian.ledger.budget
    noise, policy = question.noise_multiplier, custodian.config.policy
    if (noise is None) != (study.privacy.mode == "none"):
        raise MessageError(f"noise_multiplier={noise} for a study with privacy={study.privacy.mode}")
    plan = cost_of(study, study.total_steps, study.privacy.sampling_rate, noise)
    cap, started = Cap.of(policy.lifetime), budget.started(study.id, "train")
    withdrawn, spent = custodian.ledger.consent.withdrawn, budget.histories()
    histories = [history for name, history in spent.items() if name not in withdrawn]
    fits = {history: cap.allows(history, plan) for history in {(), *histories}}
    # Somebody who comes for the first time has spent nothing before.
    left = [cap.left((*history, plan) if fit and not started else history) for history, fit in fits.items()]
    known, room = len(histories), sum(fits[history] for history in histories)
    return Room(
        started=started,
        nobody=not spent,
        newcomers=fits[()],
        known=known if known >= policy.minimum_patients else None,
        room=room if room >= policy.minimum_patients else None,
        minimum=policy.minimum_patients,
        left=None if None in left else min(epsilon for epsilon in left if epsilon is not None),
        lifetime=policy.lifetime,
    )


def _approve(custodian: Custodian, question: Approve) -> StudyState:
    study = custodian.ledger.studies.named(question.study).study
    decision = custodian.judge(study)
    # Before anything is approved, since that reads the task's code. Hours pass by themselves.
    if not decision.allowed and decision.rule != "outside-hours":
        raise RefusedError(
            decision.rule,
            f"the hospital's policy refuses study {study.id[:12]} by {decision.rule}: {decision.reason}; "
            "nothing was approved",
        )
    until = question.until or study.expires
    if until is None:
        raise ConfigError(f"study {study.id[:12]} names no last day of its own; give --until DATE")
    agreement = Agreement(by=question.by, until=until, epsilon_cap=question.epsilon_cap)
    return _state(custodian, custodian.approvals.approve(study.id, agreement))


def _revoke(custodian: Custodian, question: Revoke) -> StudyState:
    return _state(custodian, custodian.approvals.revoke(question.study, question.by))


def _withdraw(custodian: Custodian, question: Withdraw) -> Withdrawn:
    patients, known = custodian.withdraw(question.patients, question.by)
    return Withdrawn(patients=patients, known=known)


def _roster(custodian: Custodian, question: AskRoster) -> RosterState:
    state = RosterState(own=_own(custodian), pinned=custodian.roster.read())
    if question.pinnable is not None:
        custodian.roster.require(question.pinnable, state.own)
    return state


def _pin(custodian: Custodian, question: PinRoster) -> RosterState:
    own, roster = _own(custodian), question.roster
    custodian.roster.require(roster, own)
    # Logged first, so that nothing is ever pinned of which the log does not tell.
    custodian.audit.append("pinned", question.by, facts={"version": roster.version, "roster": roster.hash})
    custodian.roster.pin(roster, own)
    return _roster(custodian, AskRoster())


def _own(custodian: Custodian) -> SiteKey:
    head = custodian.audit.head
    return SiteKey(site=head.site, key=head.key)
