"""How the released model does on the hospitals' held-out patients, from what they tell: noised histograms.

Each hospital's noise is its own, so the sum of n of them has sqrt(n) times as much: of the whole noise, or of
a share of it where it is distributed. The pooled ROC follows to
the width of a bin; its interval is what the known noise and chance make of counts like these.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from flwr.app import MessageType
from flwr.serverapp import Grid
from numpy.typing import NDArray

from federation.errors import MessageError, SecureSumError
from federation.messages import BINS, EvaluateReply, EvaluateRequest, Parameters
from federation.promise import evaluation_noise, seen
from federation.study import Study
from federation.sums import evaluation_grid
from server_app.audit_heads import HeadBook
from server_app.exchange import Answer, answer_of, ask
from server_app.membership import Membership
from server_app.record import Absence, HeldOut, absences
from server_app.sums import SecureSums, mean_of

Counts = NDArray[np.float64]

_REPLICATES = 2000


def evaluate(
    grid: Grid,
    study: Study,
    membership: Membership,
    parameters: Parameters,
    deadline: float,
    *,
    book: HeadBook,
    sums: SecureSums | None = None,
) -> HeldOut:
    """Ask every member how ``parameters`` (float32 ``[all]``) do; whoever does not say is named with why.

    Fewer than the study's quorum give no figure: a sum over few hospitals tells of each of them.
    """
    if sums is not None:
        return held_out(study, _together(study, parameters, sums))
    members = membership.members
    request = EvaluateRequest(study=study, parameters=parameters)
    questions = {member.node: request for member in members.values()}
    answers = ask(grid, questions, MessageType.EVALUATE, deadline, book)
    return held_out(study, _one_by_one({name: answers[member.node] for name, member in members.items()}))


@dataclass(frozen=True)
class Told:
    """What the hospitals told together.

    Attributes:
        hospitals: who is in the counts.
        absent: why each of the others is not.
        counts: ``[2, BINS]``, of the healthy and of the diseased; None where nothing was told.
    """

    hospitals: tuple[str, ...]
    absent: tuple[Absence, ...]
    counts: Counts | None


def _one_by_one(answers: Mapping[str, Answer]) -> Told:
    replies: dict[str, EvaluateReply] = {}
    absent: list[Absence] = []
    for name, answer in answers.items():
        try:
            replies[name] = answer_of(EvaluateReply, name, answer)
        except MessageError as error:
            absent.append(Absence(site=name, reason=str(error)))
    counts = [[reply.healthy, reply.diseased] for reply in replies.values()]
    return Told(tuple(replies), tuple(absent), np.sum(counts, axis=0) if counts else None)


def _together(study: Study, parameters: Parameters, sums: SecureSums) -> Told:
    summed = sums.add_up(
        study.rounds + 1,
        hashlib.sha256(parameters.tobytes()).digest(),
        lambda question: EvaluateRequest(study=study, parameters=parameters, sum=question),
        MessageType.EVALUATE,
        2 * BINS,
    )
    absent = absences(summed.absent)
    if summed.total is None:
        return _nothing(absent, summed.lost)
    try:
        mean, hospitals = mean_of(summed, summed.total, evaluation_grid(study))
    except SecureSumError as error:
        return _nothing(absent, str(error))
    return Told(tuple(summed.replies), absent, mean.astype(np.float64).reshape(2, BINS) * hospitals)


def _nothing(absent: tuple[Absence, ...], reason: str) -> Told:
    return Told((), (*absent, Absence(site="all", reason=reason)), None)


def held_out(study: Study, told: Told) -> HeldOut:
    """The record of what the hospitals told."""
    noise, hospitals = evaluation_noise(study), told.hospitals
    record = HeldOut(
        hospitals=hospitals,
        absent=told.absent,
        epsilon=None if study.evaluation is None else study.evaluation.epsilon,
        delta=study.privacy.delta,
        noise=None if noise is None else seen(study, noise).everybody * float(np.sqrt(len(hospitals))),
    )
    counts = told.counts
    if counts is None or len(hospitals) < study.quorum:
        return record
    record = record.model_copy(
        update={"healthy": tuple(counts[0].tolist()), "diseased": tuple(counts[1].tolist())}
    )
    if not _stands_out(counts, record.noise):
        return record
    false_alarms, found = curve(counts)
    return record.model_copy(
        update={
            "auc": float(np.trapezoid(found, false_alarms)),
            "auc_interval": _interval(counts, record.noise),
            "roc": (tuple(false_alarms.tolist()), tuple(found.tolist())),
        }
    )


def _stands_out(counts: Counts, noise: float | None) -> bool:
    """Whether there are patients of both classes, more than the noise alone would show."""
    most = 2 * (noise or 0) * np.sqrt(BINS)
    return bool((counts.sum(axis=1) > most).all())


def curve(counts: Counts) -> tuple[Counts, Counts]:
    """The ROC of histograms ``[..., 2, BINS]``: false and true positive rates, float64 ``[..., BINS + 1]``.

    Counts below zero, which noise makes, are none.
    """
    shares = np.clip(counts, 0, None)
    with np.errstate(invalid="ignore"):
        tails = np.cumsum(shares[..., ::-1], axis=-1) / shares.sum(axis=-1, keepdims=True)
    from_zero = np.concatenate([np.zeros((*tails.shape[:-1], 1)), tails], axis=-1)
    return from_zero[..., 0, :], from_zero[..., 1, :]


def _interval(counts: Counts, noise: float | None) -> tuple[float, float]:
    """95 % of the areas that patients like these, and noise like this, would give."""
    draw, size = np.random.default_rng(0), (_REPLICATES, *counts.shape)
    drawn = draw.poisson(np.clip(counts, 0, None), size) + draw.normal(0, noise or 0, size)
    false_alarms, found = curve(drawn)
    low, high = np.nanpercentile(np.trapezoid(found, false_alarms), [2.5, 97.5])
    return float(low), float(high)
