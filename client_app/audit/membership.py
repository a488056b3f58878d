"""Can it be told from a released model who was in its training?

The attack is the calibrated one of Watson et al. 2022 (2111.08440), a poor man's LiRA (Carlini et al. 2022,
2112.03570): how much more certain of an image's class has the model become than a reference that knows the
task but was hardly trained on it? A patient's score is the mean over the patient's images, since the patient
is whom the promise is made to. It knows which patients to ask about, their images and their classes, and
where the best threshold lies: more than any outsider would.

What it finds belongs to the hospital that ran it on its own patients; it leaves the site as little as the
patients' data do, for it is computed from them.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import betaincinv
from scipy.stats import rankdata
from torch import nn

from client_app.audit.records import AttackName, MembershipAttack
from federation.head import head_inputs, head_of
from federation.messages import Parameters
from federation.models import build_network, set_parameters
from federation.study import Study
from federation.tasks import Examples

_IMAGES_AT_ONCE = 256
_REPLICATES = 1000
_CURVE_POINTS = 100
_FALSE_ALARMS = 0.01

Scores = NDArray[np.float64]


def attack_membership(
    study: Study, released: Parameters, reference: Parameters, members: Examples, others: Examples
) -> Mapping[AttackName, MembershipAttack]:
    """How well training patients are told from held-out ones of the same hospitals, by two attacks.

    ``calibrated`` is the module's; ``plain`` looks at the released model's certainty alone (Yeom et al. 2018,
    1709.01604).

    Args:
        study: that made the model.
        released: the model under attack, float32 ``[all]``.
        reference: the model that it is compared with, the study's initial one or its first round's.
        members: training patients.
        others: patients of the same kind who were held out.
    """
    network = build_network(study.model, study.task)
    after, before = (
        [_margins(study, network, parameters, examples) for examples in (members, others)]
        for parameters in (released, reference)
    )
    gained = [late - early for late, early in zip(after, before, strict=True)]
    return {
        "calibrated": _judge(_within_classes(gained, members, others), members, others),
        "plain": _judge(after, members, others),
    }


def judge_attack(members: Scores, others: Scores) -> MembershipAttack:
    """How well scores tell members from others; 95 % intervals are Clopper-Pearson and bootstrap.

    Args:
        members: the attack's score of each member, float64 ``[members]``; larger for members, it hopes.
        others: of each other, float64 ``[others]``.
    """
    draw = np.random.default_rng(0)
    replicates = [
        _auc(draw.choice(members, len(members)), draw.choice(others, len(others))) for _ in range(_REPLICATES)
    ]
    # Above all but one in a hundred of those who were not in; of equal scores none is taken.
    threshold = np.sort(others)[::-1][int(_FALSE_ALARMS * len(others))]
    found = int((members > threshold).sum())
    low, high = np.quantile(replicates, [0.025, 0.975])
    return MembershipAttack(
        members=len(members),
        others=len(others),
        auc=_auc(members, others),
        auc_interval=(float(low), float(high)),
        false_alarms=_FALSE_ALARMS,
        found=found / len(members),
        found_interval=clopper_pearson(found, len(members)),
        roc=_roc(members, others),
    )


def most_found(false_alarms: float, epsilon: float, delta: float) -> float:
    """The largest share of members that (ε, δ) lets anybody find at that price in false alarms.

    Unit: a patient; adjacency: add or remove one patient (Kairouz, Oh & Viswanath 2015, theorem 2.1).
    """
    few = math.exp(epsilon) * false_alarms + delta
    many = 1 - math.exp(-epsilon) * (1 - delta - false_alarms)
    return min(1.0, few, many)


def clopper_pearson(successes: int, trials: int) -> tuple[float, float]:
    """The exact 95 % interval of a probability (Clopper & Pearson 1934)."""
    low = 0.0 if successes == 0 else float(betaincinv(successes, trials - successes + 1, 0.025))
    high = 1.0 if successes == trials else float(betaincinv(successes + 1, trials - successes, 0.975))
    return low, high


def _margins(study: Study, network: nn.Module, parameters: Parameters, examples: Examples) -> Scores:
    """The logit of each image's own class over the others', float64 ``[images]``."""
    set_parameters(network, parameters)
    images, scorer = torch.from_numpy(examples.images), network
    if study.model.trainable == "head":
        images, scorer = head_inputs(network, study.model, images), head_of(network, study.model)
    with torch.inference_mode():
        scores = torch.cat([scorer(batch).double() for batch in torch.split(images, _IMAGES_AT_ONCE)])
    own = torch.nn.functional.one_hot(torch.from_numpy(examples.targets), scores.shape[1]).bool()
    others = torch.logsumexp(scores.masked_fill(own, -torch.inf), dim=1)
    margins: Scores = (scores[own] - others).numpy()
    return margins


def _judge(scores: Sequence[Scores], members: Examples, others: Examples) -> MembershipAttack:
    """By the patients' scores of those of their images."""
    return judge_attack(_by_patient(scores[0], members.patients), _by_patient(scores[1], others.patients))


def _within_classes(scores: Sequence[Scores], members: Examples, others: Examples) -> list[Scores]:
    """Scores as deviations from the others of the same class, of whom an attacker has examples.

    A class is easier than another to a model that has seen more of it; if members and others are not sick in
    equal shares, that alone would tell them apart.
    """
    found = [np.zeros_like(part) for part in scores]
    for label in np.unique(members.targets):
        known = scores[1][others.targets == label]
        middle = float(known.mean()) if len(known) else 0.0
        spread = float(known.std()) or 1.0 if len(known) else 1.0
        for part, values, examples in zip(found, scores, (members, others), strict=True):
            part[examples.targets == label] = (values[examples.targets == label] - middle) / spread
    return found


def _by_patient(values: Scores, patients: NDArray[np.int64]) -> Scores:
    """The mean over each patient's images, float64 ``[patients]``."""
    _, rows = np.unique(patients, return_inverse=True)
    return np.bincount(rows, weights=values) / np.bincount(rows)


def _auc(members: Scores, others: Scores) -> float:
    """The chance that a member scores above another (Mann & Whitney 1947), ties counting half."""
    ranks = rankdata(np.concatenate([members, others]))[: len(members)]
    above = ranks.sum() - len(members) * (len(members) + 1) / 2
    return float(above / (len(members) * len(others)))


def _roc(members: Scores, others: Scores) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Shares of others and of members above thresholds, from none to all."""
    thresholds = np.sort(np.concatenate([members, others]))[::-1]
    kept = thresholds[np.unique(np.linspace(0, len(thresholds) - 1, _CURVE_POINTS).astype(int))]
    false_alarms, found = (
        (0.0, *(float((scores >= threshold).mean()) for threshold in kept)) for scores in (others, members)
    )
    return false_alarms, found
