"""How well a classifier does on test patients.

Only a simulation can look so closely: in a real federation no patient's score leaves the hospital.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.functional.classification import (
    binary_calibration_error,
    binary_recall,
    binary_roc,
    binary_specificity,
)

from client_app.training.evaluation import Scores
from federation.study import StratumSpec
from federation.tasks import Examples
from server_app.record import Measurement, Stratum

_REPLICATES = 1000
_CURVE_POINTS = 100


def measure(
    scores: Scores, examples: Examples, stratum: StratumSpec | None = None, *, as_probability: bool = True
) -> Measurement:
    """Everything that a board wants to know about ``scores``.

    Args:
        scores: float64 ``[images]``, larger for the second class.
        examples: the images that were scored.
        stratum: a part to measure apart.
        as_probability: whether the scores are probabilities; only then is one half a threshold.
    """
    targets = examples.targets
    auc, interval = auc_with_interval(scores, targets, examples.patients)
    measurement = Measurement(
        patients=examples.patient_count,
        images=len(examples),
        positives=int(targets.sum()),
        auc=auc,
        auc_interval=interval,
        stratum=None if stratum is None else _stratum(scores, examples, stratum),
    )
    if auc is None:
        return measurement
    predicted, truth = torch.from_numpy(scores), torch.from_numpy(targets)
    details: dict[str, object] = {}
    if as_probability:
        details = {
            "sensitivity": float(binary_recall(predicted, truth)),
            "specificity": float(binary_specificity(predicted, truth)),
            "calibration_error": float(binary_calibration_error(predicted, truth, n_bins=10)),
        }
        false_positive, true_positive, _ = binary_roc(predicted, truth)
        kept = np.unique(np.linspace(0, len(false_positive) - 1, _CURVE_POINTS).astype(int))
        details["roc"] = (tuple(false_positive[kept].tolist()), tuple(true_positive[kept].tolist()))
    return measurement.model_copy(update=details)


def _stratum(scores: Scores, examples: Examples, spec: StratumSpec) -> Stratum:
    values = examples.covariates[spec.covariate]
    inside = (values > spec.low) & (values <= spec.high)
    auc, interval = auc_with_interval(scores[inside], examples.targets[inside], examples.patients[inside])
    return Stratum(label=spec.label, images=int(inside.sum()), auc=auc, auc_interval=interval)


def auc_with_interval(
    scores: Scores, targets: NDArray[np.int64], patients: NDArray[np.int64]
) -> tuple[float | None, tuple[float, float] | None]:
    """Area under the ROC curve and its 95 % interval; None where only one class is there.

    The interval is the percentile bootstrap over patients, since one patient's images are alike.
    """
    if len(np.unique(targets)) < 2:
        return None, None
    _, rows = np.unique(patients, return_inverse=True)
    people = int(rows.max()) + 1
    draws = np.random.default_rng(0).multinomial(people, np.full(people, 1 / people), size=_REPLICATES)
    weights = np.concatenate([np.ones((1, people)), draws])[:, rows]
    areas = weighted_auc(scores, targets, weights)
    low, high = np.nanpercentile(areas[1:], [2.5, 97.5])
    return float(areas[0]), (float(low), float(high))


def weighted_auc(scores: Scores, targets: NDArray[np.int64], weights: NDArray[np.float64]) -> Scores:
    """Areas under the ROC curve for many weightings of the same images at once.

    Args:
        scores: ``[images]``; equal scores count half.
        targets: 0 or 1, ``[images]``.
        weights: ``[replicates, images]``.

    Returns:
        ``[replicates]``; not a number where a replicate has only one class.
    """
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], np.diff(scores[order]) > 0]))
    positive = np.add.reduceat(weights[:, order] * targets[order], starts, axis=1)
    negative = np.add.reduceat(weights[:, order] * (1 - targets[order]), starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative
    pairs = positive.sum(1) * negative.sum(1)
    with np.errstate(invalid="ignore"):
        areas: Scores = (positive * (below + negative / 2)).sum(1) / pairs
    return areas
