"""What has to be true of a hospital after any crash, whatever it was at."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from hospital_day import DAY, WITHDRAWN, Hospital, Told, read_told
from power_cut import LUCKS, Luck, Recording, Say, Sync

from client_app.custodian.answers import Answers
from client_app.site import SiteConfig
from federation.audit_log import Fact
from federation.errors import WardroundError
from federation.study import Study

CUT = "kill -9 or a power cut at any fsync"
HELD_BY = "charge, answer, log and consent are on disk before anything leaves"

OPENS = "the custodian opens again"
WHOLE = "the ledger is whole"
SPENT = "what left is charged"
NOT_MORE = "no more is charged than was asked for"
CHARGED_FIRST = "what was computed is charged"
KEPT = "what was released can be given again"
LOGGED = "what left is in the audit log, which holds every head that left"
WITHDREW = "a withdrawal that was acknowledged holds"
REVOKED = "a revocation that was acknowledged holds"
GOES_ON = "the rest of the day goes as it would have gone"


@dataclass(frozen=True)
class Lived:
    """A day as it went without a crash.

    Attributes:
        config: the hospital's settings.
        studies: that it was asked for.
        noise: its secret.
        told: what each step was answered with.
    """

    config: SiteConfig
    studies: tuple[Study, ...]
    noise: bytes
    told: list[Told]


@dataclass(frozen=True)
class Crash:
    """A power cut.

    Attributes:
        before: the first operation of the recording that did not happen.
        luck: what of the unsure ones is still there.
        seed: of that.
    """

    before: int
    luck: Luck
    seed: int

    def happen(self, recording: Recording, folder: Path) -> list[str]:
        """Make ``folder`` as it is afterwards; returns the lines that had been told."""
        recording.leave(folder, self.before, self.luck, self.seed)
        return recording.said(self.before)


def crashes(recording: Recording, count: int, first: int = 0) -> list[Crash]:
    """``count`` crashes, half of them beside the moments at which something is made sure or leaves.

    Args:
        recording: of what is cut off.
        count: how many.
        first: the first operation that may not have happened.
    """
    random = Random(0)  # noqa: S311 -- luck is to repeat
    everywhere = range(first, len(recording.operations) + 1)
    telling = [
        place + after
        for place, op in enumerate(recording.operations)
        if isinstance(op, Sync | Say) and place >= first
        for after in (0, 1)
    ]
    return [
        Crash(random.choice(telling if number % 2 else everywhere), random.choice(LUCKS), number)
        for number in range(count)
    ]


def broken_promises(lived: Lived, folder: Path, said: list[str], *, go_on: bool) -> list[str]:
    """Which promises the hospital in ``folder`` breaks after a crash; what had left until then was ``said``.

    Args:
        lived: the same day without a crash.
        folder: as the crash left it.
        said: the lines that it told before.
        go_on: whether to live through the rest of the day, too.
    """
    begun, told = read_told(said)
    try:
        hospital = Hospital(lived.config, lived.studies, folder)
    except WardroundError as error:
        return [f"{OPENS}: {error}"]
    try:
        broken = list(_broken(hospital, begun, told))
        if go_on and not broken:
            broken += _gone_wrong(hospital, lived, begun, told)
    finally:
        hospital.close()
    return broken


def _broken(hospital: Hospital, begun: int, told: list[Told]) -> Iterator[str]:
    custodian = hospital.custodian
    try:
        custodian.ledger.check()
    except WardroundError as error:
        yield f"{WHOLE}: {error}"
    charges = {(charge.study, charge.round) for charge in custodian.ledger.budget.charges()}
    asked = {(hospital.studies[step.study].id, step.round) for step in DAY[:begun] if step.what == "train"}
    if not charges <= asked:
        yield f"{NOT_MORE}: {len(charges - asked)} rounds that nobody asked for"
    for one in told:
        yield from _denied(hospital, one)
    for study in hospital.studies:
        yield from _answer_lost(hospital, study)


def _denied(hospital: Hospital, told: Told) -> Iterator[str]:
    """What was told is still so."""
    custodian = hospital.custodian
    if not custodian.audit.holds(told.head):
        yield f"{LOGGED}: the head of step {told.step} is not held"
    match told.answer["what"]:
        case "trained":
            yield from _answer_denied(hospital, told)
        case "withdraw":
            if hospital.keys.pseudonym(WITHDRAWN) not in custodian.ledger.consent.withdrawn:
                yield WITHDREW
        case "revoke":
            study = hospital.studies[DAY[told.step].study]
            if custodian.ledger.studies.named(study.id).state != "revoked":
                yield REVOKED


def _answer_denied(hospital: Hospital, told: Told) -> Iterator[str]:
    """What left is charged, at what was told, and logged."""
    study = hospital.studies[DAY[told.step].study]
    of_round = [
        charge
        for charge in hospital.custodian.ledger.budget.charges(study.id)
        if charge.round == told.answer["round"]
    ]
    if not of_round or of_round[0].steps < told.answer["steps"] or of_round[0].released is None:
        yield f"{SPENT}: not the answer to step {told.step}"
    elif of_round[0].steps > told.answer["steps"]:
        yield f"{NOT_MORE}: step {told.step} has cost more than was told"
    if told.answer["sha256"] not in _released(hospital, study, told.answer["round"]):
        yield f"{LOGGED}: the answer to step {told.step} is not"


def _answer_lost(hospital: Hospital, study: Study) -> Iterator[str]:
    """What lies on disk of a study's last round was charged, and is what was released."""
    charge = hospital.custodian.ledger.budget.last(study.id, "train")
    last = Answers(hospital.folder, study.id, "train").last
    if last is not None and (charge is None or charge.round < last.round):
        yield f"{CHARGED_FIRST}: an answer to round {last.round} lies there"
    if charge is not None and charge.released is not None:
        kept = None if last is None else hashlib.sha256(last.released.tobytes()).hexdigest()
        if kept not in _released(hospital, study, charge.round):
            yield f"{KEPT}: not round {charge.round}"


def _released(hospital: Hospital, study: Study, round_number: int) -> list[Fact]:
    """The hashes of what left, as the audit log has them."""
    return [
        entry.facts["sha256"]
        for entry in hospital.custodian.audit.entries()
        if (entry.event, entry.study, entry.round) == ("released", study.id, round_number)
    ]


def _gone_wrong(hospital: Hospital, lived: Lived, begun: int, told: list[Told]) -> Iterator[str]:
    """Ask again for what was asked last, whose answer may not have arrived, and go on from there."""
    heads = (told[-1].head,) if told else ()
    same_keys = hospital.keys.noise == lived.noise  # others, if it had hardly begun
    for number in range(max(0, begun - 1), len(DAY)):
        found = hospital.do(number, heads)
        heads = (found.head,)
        expected = lived.told[number].answer
        if not same_keys:
            found.answer.pop("sha256", None)
            expected = {key: value for key, value in expected.items() if key != "sha256"}
        if found.answer != expected:
            yield f"{GOES_ON}: step {number} is answered with {found.answer} instead of {expected}"
            return
    budget = hospital.custodian.ledger.budget
    if len(budget.charges()) != _charged(lived):
        yield f"{NOT_MORE}: {len(budget.charges())} rounds at the end of the day, not {_charged(lived)}"


def _charged(lived: Lived) -> int:
    rounds = {
        (DAY[one.step].study, one.answer.get("round"))
        for one in lived.told
        if one.answer["what"] == "trained"
    }
    return len(rounds)
