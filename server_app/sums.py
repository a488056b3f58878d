"""Secure sums over the hospitals of a study: two exchanges a round, three after a dropout.

What the coordinator needs after a restart lies in the run's folder: the hospitals' keys, and which round was
begun last, with whom. That one is asked again as it was, and whoever answered tells the same bytes; asked in
any other way it is burnt.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from flwr.app import MessageType
from flwr.serverapp import Grid
from pydantic import Field

from federation.errors import DataError, MessageError, QuorumError, SecureSumError
from federation.files import write_whole
from federation.messages import (
    KeysReply,
    KeysRequest,
    MaskedReply,
    Parameters,
    Request,
    UnmaskReply,
    UnmaskRequest,
)
from federation.schema import Frozen
from federation.secure_sum.coordinator import Coordinator
from federation.secure_sum.messages import (
    Advert,
    Agreement,
    OpenRequest,
    RoundRequest,
    Sites,
    SurvivorsRequest,
)
from federation.secure_sum.plan import Grid as SumGrid
from federation.secure_sum.plan import Plan
from federation.secure_sum.ring import decode
from federation.secure_sum.roster import Members
from federation.secure_sum.round_sum import RoundSum
from federation.secure_sum.transcript import Words
from federation.study import Study
from server_app.audit_heads import HeadBook
from server_app.exchange import Answer, answer_of, ask
from server_app.membership import Membership

_FILE = "secure-sum.json"


@dataclass
class Summed:
    """What a round of sums gave.

    Attributes:
        total: the sum over the survivors, uint32 ``[m + 1]``; None where the round was lost.
        lost: why, then.
        replies: what each survivor told beside its vector.
        absent: why each of the others is not in the sum.
        refused: those of them that said no before they computed anything.
    """

    total: Words | None = None
    lost: str = ""
    replies: dict[str, MaskedReply] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)


class _Kept(Frozen):
    """What lies on the coordinator's disk.

    Attributes:
        plan: its digest, as hex digits.
        adverts: the hospitals' keys.
        begun: the last round that was begun; 0 before the first.
        cohort: who was asked in it.
        survivors: who is in its sum; empty as long as that is open.
    """

    plan: str
    adverts: tuple[Advert, ...] = ()
    begun: Annotated[int, Field(ge=0)] = 0
    cohort: Sites = ()
    survivors: Sites = ()


class SecureSums:
    """The secure sums of one run.

    Args:
        grid: Flower's link to the hospitals.
        study: one with secure sums.
        membership: who takes part.
        plan: of the study.
        members: its participants, from the coordinator's roster.
        deadline: seconds a hospital has to answer in each exchange.
        book: of the hospitals' audit heads.
        folder: the run's.

    Raises:
        DataError: what lies in the folder cannot be read, or is of another plan.
        ConfigError: the members are not the plan's.
    """

    def __init__(
        self,
        grid: Grid,
        study: Study,
        membership: Membership,
        *,
        plan: Plan,
        members: Members,
        deadline: float,
        book: HeadBook,
        folder: Path,
    ) -> None:
        self._grid, self._study, self._membership = grid, study, membership
        self._deadline, self._book = deadline, book
        self._path = folder / _FILE
        self._kept = self._read(plan)
        self._coordinator = Coordinator(plan, members)
        for advert in self._kept.adverts:
            self._coordinator.take(advert)

    @property
    def begun(self) -> int:
        """The last round that was begun; 0 before the first."""
        return self._kept.begun

    def join(self) -> Membership:
        """Exchange 0, as long as no round has begun: who takes part from now on.

        Raises:
            QuorumError: fewer hospitals than a sum is over.
        """
        known = self._coordinator.adverts
        missing = [name for name in self._membership.members if name not in known]
        problems = dict.fromkeys(missing, "gave no key before the first round")
        if not self._kept.begun:
            question = KeysRequest(study=self._study, question=self._coordinator.advert_request())
            for name, answer in self._ask(dict.fromkeys(missing, question), MessageType.QUERY).items():
                try:
                    self._coordinator.take(answer_of(KeysReply, name, answer).advert)
                    del problems[name]
                except (MessageError, SecureSumError) as error:
                    problems[name] = str(error)
            self._keep(_Kept(plan=self._kept.plan, adverts=tuple(known[name] for name in sorted(known))))
        members = {name: m for name, m in self._membership.members.items() if name not in problems}
        self._membership = Membership(members, {**self._membership.absent, **problems})
        self._membership.require_enough(self._study)
        return self._membership

    def add_up(
        self,
        round_number: int,
        model: bytes,
        question: Callable[[RoundRequest], Request],
        message_type: str,
        numbers: int,
    ) -> Summed:
        """One sum.

        Args:
            round_number: later than every one that was begun; or the last of these, to ask it again.
            model: SHA-256 of the model in the question, 32 bytes.
            question: what the hospitals are asked with exchange A.
            message_type: of Flower.
            numbers: m, how many a hospital sends beside its weight; whoever sends another number is left out.
        """
        summed = Summed()
        before = self._kept if round_number == self._kept.begun else None
        try:
            summing = self._coordinator.begin(round_number, model, self._left_out(before))
            if before is None:
                # On disk before anybody is asked: hospitals burn the round, whatever becomes of this process.
                self._begin(summing)
            asked = before.survivors if before is not None and before.survivors else summing.cohort
            self._collect(
                summing, dict.fromkeys(asked, question(summing.request)), message_type, numbers, summed
            )
            self._open(summing, self._settled(summing), summed)
            if not summing.whole:
                request = summing.open_request()
                self._open(summing, dict.fromkeys(summing.survivors, request), summed)
            summed.total = summing.total()
        except (QuorumError, SecureSumError) as error:
            summed.lost = str(error)
        if before is not None:
            # Who refuses a round that it was asked before may have trained for it, and been charged.
            summed.refused.clear()
        return summed

    def _left_out(self, before: _Kept | None) -> frozenset[str]:
        """Who is not in the cohort: whoever is gone, or of a round begun ``before`` whoever was not then."""
        cohort = self._membership.members if before is None else before.cohort
        return frozenset(self._coordinator.adverts) - frozenset(cohort)

    def _begin(self, summing: RoundSum) -> None:
        round_number, cohort = summing.request.round, summing.cohort
        self._keep(self._kept.model_copy(update={"begun": round_number, "cohort": cohort, "survivors": ()}))

    def _settled(self, summing: RoundSum) -> Mapping[str, SurvivorsRequest]:
        """Exchange B's questions; the one set of survivors that a round has is on disk before they leave."""
        questions, before = summing.settle(), self._kept.survivors
        if before not in ((), summing.survivors):
            raise QuorumError(
                f"{', '.join(before)} were to be in the sum before the run was broken off, and not all of "
                "them answered again"
            )
        self._keep(self._kept.model_copy(update={"survivors": summing.survivors}))
        return questions

    def _collect(
        self,
        summing: RoundSum,
        questions: Mapping[str, Request],
        message_type: str,
        numbers: int,
        summed: Summed,
    ) -> None:
        """Exchange A."""
        for name, answer in self._ask(questions, message_type).items():
            try:
                reply = answer_of(MaskedReply, name, answer)
                if len(reply.vector) != numbers + 1:
                    raise MessageError(f"invalid reply: [{len(reply.vector)}] numbers, not [{numbers + 1}]")
                summing.add(name, reply.masked)
                # What is kept of a vector is the sum.
                summed.replies[name] = reply.model_copy(update={"vector": reply.vector[:0]})
            except (MessageError, SecureSumError) as error:
                summed.absent[name] = str(error)
                if answer.refused:
                    summed.refused.add(name)

    def _open(
        self, summing: RoundSum, questions: Mapping[str, SurvivorsRequest | OpenRequest], summed: Summed
    ) -> None:
        """Exchange B or C; a hospital that is silent now is in the sum all the same."""
        requests = {
            name: UnmaskRequest(study=self._study, question=question) for name, question in questions.items()
        }
        signs = not summing.whole and any(isinstance(each, SurvivorsRequest) for each in questions.values())
        for name, answer in self._ask(requests, MessageType.QUERY).items():
            try:
                told = answer_of(UnmaskReply, name, answer).answer
                if isinstance(told, Agreement) != signs:
                    asked = "Agreement" if signs else "OpenedShares"
                    raise MessageError(f"invalid reply: a {type(told).__name__} is no {asked}")
                if isinstance(told, Agreement):
                    summing.agree(name, told)
                else:
                    summing.open(name, told)
            except (MessageError, SecureSumError) as error:
                summed.absent[name] = f"in the sum, but did not help to open it: {error}"

    def _ask(self, questions: Mapping[str, Request], message_type: str) -> dict[str, Answer]:
        members = self._membership.members
        nodes = {name: members[name].node for name in questions if name in members}
        by_node = {node: questions[name] for name, node in nodes.items()}
        answers = ask(self._grid, by_node, message_type, self._deadline, self._book)
        gone = Answer(None, "was asked before the run was broken off, and is not there any more")
        return {name: answers[nodes[name]] if name in nodes else gone for name in questions}

    def _read(self, plan: Plan) -> _Kept:
        digest = plan.digest.hex()
        if not self._path.exists():
            return _Kept(plan=digest)
        try:
            kept = _Kept.model_validate_json(self._path.read_bytes())
        except (OSError, ValueError) as error:
            raise DataError(f"{self._path} cannot be read ({error}); begin the study anew") from error
        if kept.plan != digest:
            raise DataError(
                f"{self._path} is of the plan {kept.plan[:12]}, and the study with the roster as it is now "
                f"makes {digest[:12]}; give the roster that the run was begun with"
            )
        return kept

    def _keep(self, kept: _Kept) -> None:
        write_whole(self._path, kept.model_dump_json(indent=2).encode())
        self._kept = kept


def mean_of(summed: Summed, total: Words, grid: SumGrid) -> tuple[Parameters, int]:
    """The mean and the total weight of a sum ``[m + 1]`` on ``grid``, float32 ``[m]``.

    Raises:
        SecureSumError: the survivors cannot weigh that; one of them sent nonsense.
    """
    mean, weight = decode(total, grid)
    least = len(summed.replies)
    most = least * grid.weight_cap
    if not least <= weight <= most:
        raise SecureSumError(
            "weight",
            "",
            f"a total weight of {weight}, and that of {least} hospitals is {least} to {most}; one of them "
            "sent something that is not on the study's grid",
        )
    return mean, weight
