"""One round: ask the hospitals, check what they return, and make the next model of what is valid."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from flwr.app import MessageType
from flwr.serverapp import Grid
from numpy.typing import NDArray

from federation.errors import MessageError, QuorumError, SecureSumError
from federation.messages import Parameters, TrainReply, TrainRequest
from federation.models import Layout
from federation.study import Study
from federation.sums import training_grid
from server_app.audit_heads import HeadBook
from server_app.exchange import Answer, answer_of, ask
from server_app.gradient_step import GradientStep
from server_app.membership import Membership, reasons
from server_app.strategy import ServerOptimizer, SiteUpdate
from server_app.sums import SecureSums, Summed, mean_of


@dataclass(frozen=True)
class RoundResult:
    """What a round gave.

    Attributes:
        parameters: the next model, float32 ``[all]``; the same one where the round was lost.
        steps: that each hospital with a valid update says to have charged so far.
        absent: why each of the others did not take part.
        refused: those of them that said no before they touched a patient; the others may have trained.
        lost: why nothing came of the round; empty where something did.
    """

    parameters: Parameters
    steps: Mapping[str, int]
    absent: Mapping[str, str]
    refused: frozenset[str]
    lost: str = ""


class Rounds:
    """The rounds of one study, one after another.

    Args:
        grid: Flower's link to the hospitals.
        study: what is computed.
        membership: whom to ask.
        layout: of the study's network.
        deadline: seconds a hospital has for one round.
        book: of the hospitals' audit heads.
        sums: where updates travel in secure sums.
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
        sums: SecureSums | None = None,
    ) -> None:
        self._grid = grid
        self._study = study
        self._membership = membership
        self._mask, self._trainable = layout.mask, layout.trainable_size
        self._deadline = deadline
        self._book = book
        self._sums = sums
        self._optimizer = ServerOptimizer(study.strategy, grid)
        distributed = study.privacy.mode == "distributed"
        self._steps = GradientStep(study.training, self._trainable) if distributed else None

    @property
    def state(self) -> dict[str, NDArray[Any]]:
        """What is remembered from one round to the next."""
        return self._optimizer.state | ({} if self._steps is None else self._steps.state)

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a ``state``."""
        self._optimizer.restore(state)
        if self._steps is not None:
            self._steps.restore(state)

    def run(self, round_number: int, start: Parameters) -> RoundResult:
        """Train one round from the model ``start``, float32 ``[all]``.

        Raises:
            QuorumError: fewer valid updates than the study's quorum, where they travel by themselves; every
                other hospital is named with why.
        """
        if self._sums is None:
            return self._one_by_one(round_number, start)
        return self._together(round_number, start, self._sums)

    def _one_by_one(self, round_number: int, start: Parameters) -> RoundResult:
        members = self._membership.members
        request = TrainRequest(study=self._study, round=round_number, parameters=start)
        questions = {member.node: request for member in members.values()}
        answers = ask(self._grid, questions, MessageType.TRAIN, self._deadline, self._book)
        replies: dict[str, TrainReply] = {}
        absent = dict(self._membership.absent)
        for name, member in members.items():
            try:
                replies[name] = valid_update(answers[member.node], name, round_number, self._trainable)
            except MessageError as error:
                absent[name] = str(error)
        if len(replies) < self._study.quorum:
            raise QuorumError(
                f"round {round_number}: {len(replies)} valid updates, quorum {self._study.quorum}. "
                f"{reasons(absent)}"
            )
        updates = [
            SiteUpdate(name, members[name].declared_patients, reply.parameters)
            for name, reply in replies.items()
        ]
        return RoundResult(
            parameters=self._next(round_number, start, updates),
            steps={name: reply.steps for name, reply in replies.items()},
            absent=absent,
            refused=frozenset(name for name, member in members.items() if answers[member.node].refused),
        )

    def _together(self, round_number: int, start: Parameters, sums: SecureSums) -> RoundResult:
        model = hashlib.sha256(start.tobytes()).digest()
        summed = sums.add_up(
            round_number,
            model,
            lambda question: TrainRequest(
                study=self._study, round=round_number, parameters=start, sum=question
            ),
            MessageType.TRAIN,
            self._trainable,
        )
        lost, parameters = summed.lost, start
        if summed.total is not None and len(summed.replies) < self._study.quorum:
            lost = f"{len(summed.replies)} hospitals are in the sum, quorum {self._study.quorum}"
        elif summed.total is not None:
            try:
                parameters = self._next(round_number, start, [self._update(start, summed, summed.total)])
            except SecureSumError as error:
                lost = str(error)
        return RoundResult(
            parameters=parameters,
            steps={name: reply.steps for name, reply in summed.replies.items()},
            absent={**self._membership.absent, **summed.absent},
            refused=frozenset(summed.refused),
            lost=lost,
        )

    def _update(self, start: Parameters, summed: Summed, total: NDArray[np.uint32]) -> SiteUpdate:
        """What the survivors' sum does to the model, as if they were one hospital."""
        mean, weight = mean_of(summed, total, training_grid(self._study, self._trainable))
        if self._steps is None:
            return SiteUpdate("all", weight, mean)
        # Of gradients the sum was asked for, and every site weighs one.
        patients = sum(self._membership.members[name].declared_patients for name in summed.replies)
        gradient = mean * np.float32(weight / (self._study.privacy.sampling_rate * patients))
        return SiteUpdate("all", patients, self._steps.change(start[self._mask], gradient))

    def _next(self, round_number: int, start: Parameters, updates: list[SiteUpdate]) -> Parameters:
        parameters = start.copy()
        parameters[self._mask] = self._optimizer.step(round_number, start[self._mask], updates)
        return parameters


def valid_update(answer: Answer, site: str, round_number: int, trainable: int) -> TrainReply:
    """The reply, if it is what was asked of ``site``.

    Raises:
        MessageError: what is wrong with it, in words for the run's record.
    """
    reply = answer_of(TrainReply, site, answer)
    if reply.round != round_number:
        raise MessageError(f"invalid reply: it is of round {reply.round}")
    if reply.parameters.shape != (trainable,):
        raise MessageError(f"invalid reply: {list(reply.parameters.shape)} parameters, not [{trainable}]")
    if not np.isfinite(reply.parameters).all():
        raise MessageError("invalid reply: parameters that are not finite")
    return reply
