"""What the ledger comes to: what each study has cost, and how much of their cap patients have used."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from itertools import accumulate
from typing import Literal

from client_app.custodian.ledger.books import Books
from client_app.custodian.ledger.budget import Membership
from client_app.custodian.ledger.cost import Cap, Cost
from client_app.custodian.ledger.studies import Proposal
from client_app.custodian.policy import Against, Policy
from client_app.site import HospitalConfig
from federation.accounting import epsilon_of, noise_multiplier_for
from federation.errors import PrivacyError

BANDS = ("0–25 %", "25–50 %", "50–75 %", "75–100 %", "no budget left")
StudyState = Literal["waiting", "approved", "running", "ended", "revoked"]


@dataclass(frozen=True)
class StudyAccount:
    """What one study has cost here.

    Attributes:
        proposal: what was asked for, and who agreed.
        state: ``running`` once something is set aside for it, ``ended`` when that has come back.
        started: when it first set something aside; None if it never has.
        ended: when the rest came back; None before.
        rounds_charged: how many rounds were paid for.
        rounds_released: how many results have left.
        steps: charged.
        set_aside: steps that are not charged yet and still held for it.
        epsilon: what ``steps`` have cost at the study's δ, before whom it is promised: the coordinator with
            the sites that collude with it, and everybody else where noise is not distributed; infinite
            without a bound.
        epsilon_set_aside: what it will have cost once all that it holds is used.
        everybody: as ``epsilon``, before everybody together.
        everybody_set_aside: as ``epsilon_set_aside``, before everybody together.
    """

    proposal: Proposal
    state: StudyState
    started: datetime | None
    ended: datetime | None
    rounds_charged: int
    rounds_released: int
    steps: int
    set_aside: int
    epsilon: float
    epsilon_set_aside: float
    everybody: float
    everybody_set_aside: float


@dataclass(frozen=True)
class PatientsAccount:
    """How much of the cap the patients who were ever in a study have used, before whom it looks at.

    What is set aside counts as used.

    Attributes:
        bands: of ``BANDS``, how many are in it.
        most: ε of whoever has given most, at the cap's δ.
        median: ε of the one in the middle.
        room: how many could take part in the largest study that the policy allows.
        count: how many there are.
        withdrawn: how many people have withdrawn.
    """

    bands: Mapping[str, int]
    most: float
    median: float
    room: int
    count: int
    withdrawn: int


@dataclass(frozen=True)
class Moment:
    """What had been charged after a round was.

    Attributes:
        time: of the charge, UTC.
        most: ε of whoever has given most by then.
        median: ε of the one in the middle of all who were ever in a study.
    """

    time: datetime
    most: float
    median: float


@dataclass(frozen=True)
class Statement:
    """See the module.

    Attributes:
        site: the hospital's name.
        made: when, UTC.
        policy: the hospital's.
        studies: the latest last.
        patients: all together.
        history: after each charge, the oldest first.
    """

    site: str
    made: datetime
    policy: Policy
    studies: tuple[StudyAccount, ...]
    patients: PatientsAccount
    history: tuple[Moment, ...]


def statement_of(config: HospitalConfig, books: Books) -> Statement:
    """What ``books`` come to under the hospital's policy."""
    cap = Cap.of(config.policy.lifetime)
    return Statement(
        site=config.name,
        made=datetime.now(UTC),
        policy=config.policy,
        studies=tuple(_study(books, proposal) for proposal in books.proposals),
        patients=_patients(books, cap, config.policy),
        history=tuple(_history(books, cap)),
    )


def _study(books: Books, proposal: Proposal) -> StudyAccount:
    study, study_id = proposal.study, proposal.study.id
    reservations = [each for each in books.reservations if each.study == study_id]
    going = [each for each in reservations if each.ended is None]
    charges = [charge for each in reservations for charge in books.charged(study_id, each.part)]
    costs = [charge.cost for charge in charges]
    unused = [
        cost
        for each in going
        for cost in _rest(each.plan, sum(c.cost.steps for c in books.charged(study_id, each.part)))
    ]
    state: StudyState = proposal.state
    if state == "approved" and reservations:
        state = "running" if going else "ended"
    return StudyAccount(
        proposal=proposal,
        state=state,
        started=min((each.started for each in reservations), default=None),
        ended=None if going else max((each.ended for each in reservations if each.ended), default=None),
        rounds_charged=len(charges),
        rounds_released=sum(charge.released is not None for charge in charges),
        steps=sum(cost.steps for cost in costs),
        set_aside=sum(cost.steps for cost in unused),
        epsilon=_epsilon(costs, study.privacy.delta, "coordinator"),
        epsilon_set_aside=_epsilon([*costs, *unused], study.privacy.delta, "coordinator"),
        everybody=_epsilon(costs, study.privacy.delta, "everybody"),
        everybody_set_aside=_epsilon([*costs, *unused], study.privacy.delta, "everybody"),
    )


def _rest(plan: Cost, charged: int) -> Iterable[Cost]:
    if plan.steps > charged:
        yield Cost(plan.steps - charged, plan.sampling_rate, plan.noise_everybody, plan.noise_coordinator)


def _epsilon(costs: Sequence[Cost], delta: float | None, against: Against) -> float:
    """What ``against`` has learnt: of one study, so its noise and steps were settled beforehand."""
    spends = [cost.spend(against) for cost in costs]
    known = [spend for spend in spends if spend is not None]
    if len(known) < len(spends) or (known and delta is None):
        return math.inf
    try:
        return epsilon_of(known, delta) if known and delta is not None else 0.0
    except PrivacyError:  # where one share of the noise is too little to bound anything
        return math.inf


def _patients(books: Books, cap: Cap, policy: Policy) -> PatientsAccount:
    largest = largest_study(policy)
    bands = dict.fromkeys(BANDS, 0)
    shares: list[tuple[float, int]] = []
    room = 0
    for memberships, count in books.patients.items():
        history = _merged(books.history(memberships))
        share = cap.share(history)
        shares.append((share, count))
        bands[_band(share)] += count
        room += count if cap.allows(history, largest) else 0
    return PatientsAccount(
        bands=bands,
        most=cap.epsilon(max((share for share, _ in shares), default=0.0)),
        median=cap.epsilon(_median(shares)),
        room=room,
        count=sum(books.patients.values()),
        withdrawn=books.withdrawn,
    )


def _merged(history: Iterable[Cost]) -> list[Cost]:
    """The same in as few entries as there are mechanisms, of which a filter adds up the steps."""
    steps: dict[Cost, int] = defaultdict(int)
    for cost in history:
        steps[replace(cost, steps=1)] += cost.steps
    return [replace(mechanism, steps=count) for mechanism, count in steps.items()]


def largest_study(policy: Policy) -> Cost:
    """The most that the policy lets a study take from a patient, in one step."""
    noise = noise_multiplier_for(policy.maximum_epsilon, 1.0, 1, policy.maximum_delta)
    return Cost(1, 1.0, noise_everybody=noise, noise_coordinator=noise)


def _band(share: float) -> str:
    """The filter stops a little before all is used, so whoever is that near has nothing left."""
    return BANDS[4] if share >= 1 - 1e-6 else BANDS[int(4 * share)]


def _median(shares: Iterable[tuple[float, int]]) -> float:
    """The lower of the two in the middle, where there are two; 0 of nobody."""
    ordered = sorted(shares)
    half = sum(count for _, count in ordered) / 2
    below = accumulate(count for _, count in ordered)
    return next((share for (share, _), reached in zip(ordered, below, strict=True) if reached >= half), 0.0)


def _history(books: Books, cap: Cap) -> Iterable[Moment]:
    @cache
    def share_of(cost: Cost) -> float:
        return cap.share([cost])

    groups = list(books.patients.items())
    bearers: dict[tuple[str, str], list[tuple[int, Membership]]] = defaultdict(list)
    for group, (memberships, _) in enumerate(groups):
        for membership in memberships:
            bearers[membership.study, membership.part].append((group, membership))
    used = [0.0] * len(groups)
    for charge in books.charges:
        for group, membership in bearers[charge.study, charge.part]:
            if membership.bears(charge):
                used[group] += share_of(charge.cost)
        middle = _median((share, count) for share, (_, count) in zip(used, groups, strict=True))
        yield Moment(
            time=datetime.fromisoformat(charge.reserved),
            most=cap.epsilon(max(used, default=0.0)),
            median=cap.epsilon(middle),
        )
