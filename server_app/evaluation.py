"""How the released model does on the hospitals' held-out patients, from what they tell: noised histograms.

Each hospital's noise is its own, so the sum of n of them has sqrt(n) times as much. The pooled ROC follows to
the width of a bin; its interval is what the known noise and chance make of counts like these.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from flwr.app import MessageType
from flwr.serverapp import Grid
from numpy.typing import NDArray

from federation.messages import BINS, EvaluateReply, EvaluateRequest, Parameters
from federation.promise import evaluation_noise
from federation.study import Study
from server_app.audit_heads import HeadBook
from server_app.exchange import Answer, ask
from server_app.membership import Membership
from server_app.record import Absence, HeldOut

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
) -> HeldOut:
    """Ask every member how ``parameters`` (float32 ``[all]``) do; whoever does not say is named with why.

    Fewer than the study's quorum give no figure: a sum over few hospitals tells of each of them.
    """
    members = membership.members
    request = EvaluateRequest(study=study, parameters=parameters)
    answers = ask(
        grid, {member.node: request for member in members.values()}, MessageType.EVALUATE, deadline, book
    )
    replies: dict[str, EvaluateReply] = {}
    absent: list[Absence] = []
    for name, member in members.items():
        reply = answers[member.node].record
        if isinstance(reply, EvaluateReply) and reply.site == name:
            replies[name] = reply
        else:
            absent.append(Absence(site=name, reason=_problem(answers[member.node])))
    return held_out(study, replies, absent)


def _problem(answer: Answer) -> str:
    return answer.problem or f"invalid reply: a {type(answer.record).__name__} of another kind or site"


def held_out(study: Study, replies: Mapping[str, EvaluateReply], absent: Sequence[Absence]) -> HeldOut:
    """The record of what the hospitals told."""
    noise = evaluation_noise(study)
    record = HeldOut(
        hospitals=tuple(replies),
        absent=tuple(absent),
        epsilon=None if study.evaluation is None else study.evaluation.epsilon,
        delta=study.privacy.delta,
        noise=None if noise is None else noise * float(np.sqrt(len(replies))),
    )
    if len(replies) < study.quorum:
        return record
    counts = np.sum([[reply.healthy, reply.diseased] for reply in replies.values()], axis=0)
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
