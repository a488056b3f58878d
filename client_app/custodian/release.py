"""The site's own door: what may leave, and what it has to look like.

An allow-list of typed records. Whatever computed it, a reply that is anything else, or says anything that the
site does not already know to be so, stays here. What has to be seen: an update is one flat float32 array of
the length that the study's network has; beside it stand only the round that was asked for and the steps that
the ledger has charged. A score histogram is the numbers that were kept for the one charge of the study's
evaluation, and where the study promises privacy they carry noise. What goes into a secure sum is what the
site's state of that sum has on disk, and a masked vector is the one that the site committed to.
"""

import re
from dataclasses import dataclass

import numpy as np

from federation.errors import ConfigError, ReleaseError
from federation.messages import (
    DescribeReply,
    DescribeRequest,
    EvaluateReply,
    EvaluateRequest,
    KeysReply,
    KeysRequest,
    MaskedReply,
    Record,
    RefusalReply,
    Reply,
    Request,
    TrainReply,
    TrainRequest,
    UnmaskReply,
    UnmaskRequest,
)
from federation.schema import validated
from federation.secure_sum.messages import Advert, Agreement, Commitment, OpenedShares, RoundRequest
from federation.secure_sum.transcript import digest_of_vector

REASON_STAYS = "the site's log says why"
"""The only reason that is told of what is not a rule's refusal."""

MOST_REASON = 1000
"""Characters of a reason."""

_MAY_LEAVE = (
    DescribeReply,
    KeysReply,
    TrainReply,
    MaskedReply,
    UnmaskReply,
    EvaluateReply,
    RefusalReply,
)
_RULE = re.compile(r"[A-Za-z][A-Za-z-]{1,63}")
_MOST_NAME = 50
_REFERENCE = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True)
class Terms:
    """What the site itself knows about its next reply.

    Attributes:
        site: its name.
        description: as it wants to be known.
        declared_patients: its public cohort size.
        trainable: how many parameters an update has.
        steps: what the ledger has charged the study's patients so far.
        counts: of the score histogram that was charged, the healthy first.
        noised: whether the study promises them noise.
        numbers: how many a masked vector has.
        said: what the state of the secure sum has on disk: the site's key, what it committed to, or its word
            on the survivors.
    """

    site: str
    description: str = ""
    declared_patients: int = 0
    trainable: int = 0
    steps: int = 0
    counts: tuple[float, ...] = ()
    noised: bool = True
    numbers: int = 0
    said: Advert | Commitment | Agreement | OpenedShares | None = None


def require_releasable(reply: object, request: Request, terms: Terms) -> Reply:
    """``reply``, if it may leave.

    Raises:
        ReleaseError: it may not; the message never repeats what it would have said.
    """
    if not isinstance(reply, _MAY_LEAVE):
        raise ReleaseError(f"a {type(reply).__name__} is no answer to a {type(request).__name__}")
    _require_plain(reply)
    match reply:
        case RefusalReply():
            _require_terse(reply)
        case KeysReply() | MaskedReply() | UnmaskReply():
            _require_for_sum(reply, request, terms)
        case _:
            _require_by_itself(reply, request, terms)
    if reply.site != terms.site:
        raise ReleaseError("a reply in the name of another site")
    return reply


def _require_by_itself(
    reply: DescribeReply | TrainReply | EvaluateReply, request: Request, terms: Terms
) -> None:
    match reply, request:
        case DescribeReply(), DescribeRequest():
            if (reply.description, reply.declared_patients) != (terms.description, terms.declared_patients):
                raise ReleaseError("a description or a cohort size that the site has not declared")
        case TrainReply(), TrainRequest(sum=None):
            if (reply.round, reply.steps) != (request.round, terms.steps):
                raise ReleaseError("an update of another round, or with other steps than the ledger has")
            _require_update(reply.parameters, terms.trainable)
        case EvaluateReply(), EvaluateRequest(sum=None):
            _require_charged(reply.healthy + reply.diseased, terms)
        case _:
            raise ReleaseError(f"a {type(reply).__name__} is no answer to a {type(request).__name__}")


def _require_for_sum(reply: KeysReply | MaskedReply | UnmaskReply, request: Request, terms: Terms) -> None:
    match reply, request:
        case KeysReply(), KeysRequest():
            _require_said(reply.advert, terms)
        case MaskedReply(), TrainRequest(sum=RoundRequest() as asked) | EvaluateRequest(
            sum=RoundRequest() as asked
        ):
            if (reply.round, reply.steps) != (asked.round, terms.steps):
                raise ReleaseError("a vector of another round, or with other steps than the ledger has")
            _require_masked(reply, terms)
        case UnmaskReply(), UnmaskRequest():
            _require_said(reply.answer, terms)
        case _:
            raise ReleaseError(f"a {type(reply).__name__} is no answer to a {type(request).__name__}")


def as_rule(name: str) -> str:
    """The name of a kind of error, as it may be told as a part of a rule."""
    return re.sub("[^A-Za-z]", "", name)[:_MOST_NAME]


def _require_plain(reply: Record) -> None:
    """Of exactly its own type, with its own fields and values, which were perhaps never looked at."""
    kind = type(reply)
    if kind not in _MAY_LEAVE or set(vars(reply)) != set(kind.model_fields):
        raise ReleaseError(f"a {kind.__name__} with fields of its own")
    try:
        validated(kind, vars(reply), kind.__name__)
    except ConfigError:
        raise ReleaseError(f"a {kind.__name__} whose fields are not what they should be") from None


def _require_update(parameters: object, trainable: int) -> None:
    if type(parameters) is not np.ndarray or parameters.dtype != np.float32:
        raise ReleaseError("an update that is no array of float32")
    if parameters.shape != (trainable,):
        raise ReleaseError(f"an update of shape {list(parameters.shape)}, not [{trainable}]")
    if not np.isfinite(parameters).all():
        raise ReleaseError("an update with numbers that are not finite")


def _require_masked(reply: MaskedReply, terms: Terms) -> None:
    """Whether it is masked no bit of it tells; what the site has committed to went through the mask."""
    _require_said(reply.commitment, terms)
    vector = reply.vector
    if type(vector) is not np.ndarray or vector.dtype != np.uint32 or vector.shape != (terms.numbers,):
        raise ReleaseError(f"a vector that is not uint32 [{terms.numbers}]")
    if digest_of_vector(vector) != reply.commitment.vector:
        raise ReleaseError("another vector than the site has committed to")


def _require_said(said: object, terms: Terms) -> None:
    if terms.said is None or said != terms.said:
        raise ReleaseError(f"a {type(said).__name__} that is not the one on the site's disk")


def _require_charged(counts: tuple[float, ...], terms: Terms) -> None:
    if counts != terms.counts:
        raise ReleaseError("a score histogram that was not charged")
    # Noise is on a grid of a millionth: that all of it should fall on whole patients does not happen.
    if terms.noised and all(count == round(count) for count in counts):
        raise ReleaseError("a score histogram without noise")


def _require_terse(reply: RefusalReply) -> None:
    told = reply.kind == "refused" or reply.reason == REASON_STAYS
    shaped = _RULE.fullmatch(reply.rule) and _REFERENCE.fullmatch(reply.reference)
    if not told or not shaped or len(reply.reason) > MOST_REASON:
        raise ReleaseError("a refusal that tells more than a rule and its reason")
