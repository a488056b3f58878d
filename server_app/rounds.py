"""One round: ask the hospitals, check what they return, and make the next model of what is valid."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from flwr.app import MessageType
from flwr.serverapp import Grid

from federation.errors import MessageError, QuorumError
from federation.messages import Parameters, TrainReply, TrainRequest
from federation.models import Layout
from federation.study import Study
from server_app.audit_heads import HeadBook
from server_app.exchange import Answer, ask
from server_app.membership import Membership
from server_app.strategy import ServerOptimizer, SiteUpdate


@dataclass(frozen=True)
class RoundResult:
    """What a round gave.

    Attributes:
        parameters: the next model, float32 ``[all]``.
        replies: the valid replies, by hospital.
        absent: why each of the others did not take part.
        refused: those of them that said no before they touched a patient; the others may have trained.
    """

    parameters: Parameters
    replies: Mapping[str, TrainReply]
    absent: Mapping[str, str]
    refused: frozenset[str]


class Rounds:
    """The rounds of one study, one after another.

    Args:
        grid: Flower's link to the hospitals.
        study: what is computed.
        membership: whom to ask.
        layout: of the study's network.
        deadline: seconds a hospital has for one round.
        book: of the hospitals' audit heads.

    Attributes:
        optimizer: what remembers something from one round to the next.
    """

    def __init__(
        self,
        grid: Grid,
        study: Study,
        membership: Membership,
        layout: Layout,
        deadline: float,
        *,
        book: HeadBook,
    ) -> None:
        self._grid = grid
        self._study = study
        self._membership = membership
        self._mask = layout.mask
        self._deadline = deadline
        self._book = book
        self.optimizer = ServerOptimizer(study.strategy, grid)

    def run(self, round_number: int, start: Parameters) -> RoundResult:
        """Train one round from the model ``start``, float32 ``[all]``.

        Raises:
            QuorumError: fewer valid updates than the study's quorum; every other hospital is named with why.
        """
        members = self._membership.members
        request = TrainRequest(study=self._study, round=round_number, parameters=start)
        questions = {member.node: request for member in members.values()}
        answers = ask(self._grid, questions, MessageType.TRAIN, self._deadline, self._book)
        replies: dict[str, TrainReply] = {}
        absent = dict(self._membership.absent)
        for name, member in members.items():
            try:
                trainable = int(self._mask.sum())
                replies[name] = valid_update(answers[member.node], name, round_number, trainable)
            except MessageError as error:
                absent[name] = str(error)
        if len(replies) < self._study.quorum:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in absent.items())
            raise QuorumError(
                f"round {round_number}: {len(replies)} valid updates, quorum {self._study.quorum}. {reasons}"
            )
        updates = [
            SiteUpdate(name, members[name].declared_patients, reply.parameters)
            for name, reply in replies.items()
        ]
        parameters = start.copy()
        parameters[self._mask] = self.optimizer.step(round_number, start[self._mask], updates)
        refused = frozenset(name for name, member in members.items() if answers[member.node].refused)
        return RoundResult(parameters, replies, absent, refused)


def valid_update(answer: Answer, site: str, round_number: int, trainable: int) -> TrainReply:
    """The reply, if it is what was asked of ``site``.

    Raises:
        MessageError: what is wrong with it, in words for the run's record.
    """
    reply = answer.record
    if reply is None:
        raise MessageError(answer.problem)
    if not isinstance(reply, TrainReply):
        raise MessageError(f"invalid reply: a {type(reply).__name__} is no update")
    if reply.site != site:
        raise MessageError(f"invalid reply: it says that it is {reply.site}")
    if reply.round != round_number:
        raise MessageError(f"invalid reply: it is of round {reply.round}")
    if reply.parameters.shape != (trainable,):
        raise MessageError(f"invalid reply: {list(reply.parameters.shape)} parameters, not [{trainable}]")
    if not np.isfinite(reply.parameters).all():
        raise MessageError("invalid reply: parameters that are not finite")
    return reply
