"""Hospitals in secure sums: their custodian's real part behind real nodes, at fault where a test says so."""

import hashlib
import itertools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from federated import identity, roster_of
from flwr.app import Message, MessageType, RecordDict
from flwr.serverapp import Grid

from client_app.custodian.sums import Sums
from federation.errors import SecureSumError
from federation.messages import (
    DescribeReply,
    DescribeRequest,
    EvaluateRequest,
    KeysReply,
    KeysRequest,
    MaskedReply,
    Parameters,
    Record,
    RefusalReply,
    TrainRequest,
    UnmaskReply,
    UnmaskRequest,
    from_content,
)
from federation.secure_sum.messages import SurvivorsRequest
from federation.secure_sum.roster import Members
from federation.secure_sum.states import Sent
from federation.secure_sum.transcript import Words
from federation.study import SecureSumSpec, Study
from federation.sums import plan_of
from server_app.audit_heads import HeadBook
from server_app.membership import Membership, assemble
from server_app.sums import SecureSums, Summed
from tests.server_app.conftest import Outgoing

NUMBERS = 40
MODEL = np.linspace(-1, 1, 7, dtype=np.float32)
_PATIENCE = 300.0  # for what comes for certain, however busy the machine is

Work = TrainRequest | EvaluateRequest
Behaviour = Callable[[str, Callable[[], Record]], Outgoing]
Schedule = Mapping[tuple[str, int, str], Behaviour]
"""By site, round and exchange: ``describe`` and ``keys`` in round 0, then ``A``, ``B`` and ``C``."""


def honest(site: str, answer: Callable[[], Record]) -> Outgoing:
    return answer()


def raises(site: str, answer: Callable[[], Record]) -> Outgoing:
    raise RuntimeError("/data/Miller^Anna.dcm")


def answers_in_vain(site: str, answer: Callable[[], Record]) -> Outgoing:
    """All is done and kept at the hospital, and the reply is lost on its way."""
    answer()
    raise ConnectionError


def garbage(site: str, answer: Callable[[], Record]) -> Outgoing:
    return RecordDict()


def refuses(site: str, answer: Callable[[], Record]) -> Outgoing:
    return RefusalReply(site=site, kind="refused", rule="out-of-hours", reason="at night", reference="r1")


FAULTS = (raises, answers_in_vain, garbage, refuses)


@dataclass(frozen=True)
class Late:
    """The reply comes, ``seconds`` after it was made."""

    seconds: float

    def __call__(self, site: str, answer: Callable[[], Record]) -> Outgoing:
        reply = answer()
        time.sleep(self.seconds)
        return reply


@dataclass(frozen=True)
class Changed:
    """The reply is what ``change`` makes of the honest one."""

    change: Callable[[Any], Outgoing]

    def __call__(self, site: str, answer: Callable[[], Record]) -> Outgoing:
        return self.change(answer())


def longer(reply: MaskedReply) -> MaskedReply:
    return reply.model_copy(update={"vector": np.append(reply.vector, np.uint32(1))})


def words_of(site: str, round_number: int, numbers: int = NUMBERS) -> Words:
    """Any words at all, the same each time: uint32 ``[numbers + 1]``."""
    seed = int.from_bytes(hashlib.sha256(f"{site} {round_number}".encode()).digest()[:8], "little")
    return np.random.default_rng(seed).integers(0, 2**32, numbers + 1, dtype=np.uint32)


def exact(words: Sequence[Words]) -> Words:
    """Their sum by Python's integers, modulo 2^32."""
    columns = zip(*(each.tolist() for each in words), strict=True)
    return np.array([sum(column) % 2**32 for column in columns], dtype=np.uint32)


def known_words(site: str, request: Work) -> Words:
    assert request.sum is not None
    return words_of(site, request.sum.round)


@dataclass(frozen=True)
class Hospital:
    """A node that takes part with ``Sums``, made anew for every message: each is answered after a restart.

    Args:
        site: its name.
        members: of the study, from the roster that it has pinned.
        folder: below which it keeps its state, and writes down what it was asked.
        numbers: that it sends beside its weight.
        words: what it has to add, of a round's question.
        behaviours: by round and exchange.
        kind: ``Sums`` or a weakened variant.
        patients: that it declares.
    """

    site: str
    members: Members
    folder: Path
    numbers: int = NUMBERS
    words: Callable[[str, Work], Words] = known_words
    behaviours: Mapping[tuple[int, str], Behaviour] = field(default_factory=dict)
    kind: type[Sums] = Sums
    patients: int = 100

    def __call__(self, message: Message) -> Outgoing:
        request: Any = from_content(message.content)
        round_number, exchange, sites = place_of(request)
        with _asked_file(self.folder, self.site).open("a") as file:
            file.write(json.dumps([round_number, exchange, sites]) + "\n")
        behave = self.behaviours.get((round_number, exchange), honest)
        return behave(self.site, lambda: self._answer(request))

    def _answer(self, request: Any) -> Record:
        if isinstance(request, DescribeRequest):
            return DescribeReply(site=self.site, declared_patients=self.patients)
        try:
            return self._summed(request)
        except SecureSumError as error:
            return RefusalReply(
                site=self.site, kind="refused", rule=error.check, reason=str(error), reference="r1"
            )

    def _summed(self, request: Any) -> Record:
        plan = plan_of(request.study, self.members, self.numbers)
        sums = self.kind(self.folder / self.site, plan, self.members, self.site, identity(self.site))
        if isinstance(request, KeysRequest):
            return KeysReply(site=self.site, advert=sums.advertise(request.question))
        if isinstance(request, UnmaskRequest):
            return UnmaskReply(site=self.site, answer=sums.unmask(request.question))
        begun = sums.begin(request.sum, hashlib.sha256(request.parameters.tobytes()).digest())
        steps = request.round * request.study.training.steps if isinstance(request, TrainRequest) else 0
        sent = begun.sent if isinstance(begun, Sent) else sums.mask(begun, self.words(self.site, request))
        return MaskedReply.of(self.site, steps, sent)


def place_of(request: Any) -> tuple[int, str, list[str]]:
    """The round, the exchange, and whom the question names."""
    if isinstance(request, DescribeRequest | KeysRequest):
        return 0, "keys" if isinstance(request, KeysRequest) else "describe", []
    if isinstance(request, UnmaskRequest):
        exchange = "B" if isinstance(request.question, SurvivorsRequest) else "C"
        return request.question.round, exchange, list(request.question.survivors)
    return request.sum.round, "A", list(request.sum.cohort)


class Killed(BaseException):
    """What no code of ours catches."""


class Dying:
    """A grid whose coordinator is killed at an exchange: before it asks, or when all have answered."""

    def __init__(self, grid: Grid, round_number: int, exchange: str, sent: bool) -> None:
        self._grid, self._place, self._sent = grid, (round_number, exchange), sent

    def push_messages(self, messages: Sequence[Message]) -> Any:
        if place_of(from_content(messages[0].content))[:2] != self._place:
            return self._grid.push_messages(messages)
        waiting = set(self._grid.push_messages(messages)) if self._sent else set()
        while waiting:
            waiting -= {reply.metadata.reply_to_message_id for reply in self._grid.pull_messages(waiting)}
            time.sleep(0.01)
        raise Killed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._grid, name)


def _asked_file(folder: Path, site: str) -> Path:
    (folder / site).mkdir(parents=True, exist_ok=True)
    return folder / site / "asked.jsonl"


@dataclass(frozen=True)
class Federation:
    """The hospitals of a study with secure sums, and what a test asks of them.

    Args:
        study: one with secure sums.
        folder: a temporary one, for the hospitals' states and the run's.
        numbers: that each sends beside its weight.
    """

    study: Study
    folder: Path
    numbers: int = NUMBERS

    @property
    def sites(self) -> tuple[str, ...]:
        return self.study.participants

    @property
    def members(self) -> Members:
        return roster_of(self.sites).only(self.sites)

    @property
    def book(self) -> HeadBook:
        return HeadBook(self.folder / "heads" / "audit-heads.jsonl")

    def hospitals(self, schedule: Schedule | None = None, **settings: Any) -> list[Hospital]:
        """All of them, at fault as ``schedule`` says."""
        faults: dict[str, dict[tuple[int, str], Behaviour]] = {site: {} for site in self.sites}
        for (site, round_number, exchange), behaviour in (schedule or {}).items():
            faults[site][round_number, exchange] = behaviour
        folder = self.folder / "sites"
        return [
            Hospital(site, self.members, folder, self.numbers, behaviours=faults[site], **settings)
            for site in self.sites
        ]

    def membership(self, grid: Grid, without: Sequence[str] = ()) -> Membership:
        """Whoever comes, which in Flower takes a while, but those in ``without``."""
        found = assemble(grid, self.study, _PATIENCE, _PATIENCE, self.book)
        return Membership({site: m for site, m in found.members.items() if site not in without}, found.absent)

    def sums(
        self,
        grid: Grid,
        deadline: float = _PATIENCE,
        without: Sequence[str] = (),
        members: Members | None = None,
    ) -> SecureSums:
        """The coordinator's, in a run folder that outlives it."""
        members = members or self.members
        return SecureSums(
            grid,
            self.study,
            self.membership(grid, without),
            plan=plan_of(self.study, members, self.numbers),
            members=members,
            deadline=deadline,
            book=self.book,
            folder=self.folder / "run",
        )

    def add_up(self, sums: SecureSums, round_number: int, model: Parameters = MODEL) -> Summed:
        return sums.add_up(
            round_number,
            hashlib.sha256(model.tobytes()).digest(),
            lambda question: TrainRequest(
                study=self.study, round=round_number, parameters=model, sum=question
            ),
            MessageType.TRAIN,
            self.numbers,
        )

    def exact(self, survivors: Sequence[str], round_number: int) -> Words:
        return exact([words_of(site, round_number, self.numbers) for site in survivors])

    def asked(self, site: str | None = None) -> list[tuple[int, str, tuple[str, ...]]]:
        """What the hospitals were asked: round, exchange, and the sites that the question names."""
        return [
            (round_number, exchange, tuple(sites))
            for name in (self.sites if site is None else (site,))
            for line in _asked_file(self.folder / "sites", name).read_text().splitlines()
            for round_number, exchange, sites in [json.loads(line)]
        ]

    def keys_asked(self, site: str) -> list[int]:
        return [number for number, exchange, _ in self.asked(site) if exchange == "keys"]

    def exchanges(self, round_number: int) -> set[str]:
        """Those of a round that any hospital was asked for."""
        return {exchange for number, exchange, _ in self.asked() if number == round_number}

    def require_one_set_a_round(self) -> None:
        """Nobody was ever asked to open two sets of one round, or fewer than the plan has."""
        sets: dict[int, set[tuple[str, ...]]] = {}
        for round_number, exchange, sites in self.asked():
            if exchange in ("B", "C"):
                sets.setdefault(round_number, set()).add(sites)
        parties = self.study.parties
        assert parties is not None
        for survivors in sets.values():
            assert len(survivors) == 1
            assert len(next(iter(survivors))) >= parties.min_survivors


def secure(study: Study, sites: Sequence[str], dropouts: int, lost_rounds: int = 0, **changes: Any) -> Study:
    """``study`` in secure sums over ``sites``, of which one may collude."""
    spec = SecureSumSpec(colluding=1, dropouts=dropouts, lost_rounds=lost_rounds, weight_cap=10_000)
    values = {"participants": tuple(sites), "aggregation": "secure", "secure_sum": spec, "quorum": 1}
    return study.model_copy(update=values | changes)


@dataclass(frozen=True)
class Silent:
    """Who says nothing in one round, by exchange."""

    a: tuple[str, ...] = ()
    b: tuple[str, ...] = ()
    c: tuple[str, ...] = ()


def dropped(sites: Sequence[str], counts: Sequence[tuple[int, int, int]]) -> dict[int, Silent]:
    """For rounds 1, 2, ...: as many silent sites in A, B and C as ``counts`` says, others each time."""
    draw, rounds = np.random.default_rng(len(sites)), {}
    for number, (a, b, c) in enumerate(counts, start=1):
        silent = draw.permutation(list(sites)).tolist()
        rounds[number] = Silent(tuple(silent[:a]), tuple(silent[a : a + b]), tuple(silent[a + b : a + b + c]))
    return rounds


def schedule_of(rounds: Mapping[int, Silent]) -> Schedule:
    """All kinds of faults in turn."""
    faults = itertools.cycle(FAULTS)
    return {
        (site, number, exchange): next(faults)
        for number, silent in rounds.items()
        for exchange, sites in (("A", silent.a), ("B", silent.b), ("C", silent.c))
        for site in sites
    }
