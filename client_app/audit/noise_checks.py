"""Is there as much noise as promised, everywhere, and nowhere twice?

All of it is drawn through ``LocalTraining``, where nobody is trained on or one synthetic patient is, so that
what is measured is what the site would release. Unit, adjacency and assumption are those of
``client_app.training.noise``. The limits are so wide that sound code fails one of them less than once in
100,000 rehearsals.
"""

import hashlib
import math
from copy import deepcopy

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtr, chdtrc
from torch import nn

from client_app.audit.canaries import canary_layer, rehearsal_promise
from client_app.audit.records import Check
from client_app.site import EngineName, Resources
from client_app.training.batches import Patients
from client_app.training.local_round import LocalTraining
from federation.errors import PrivacyError
from federation.promise import noise_multiplier
from federation.study import Study, TrainingSpec
from federation.tasks import Examples

# Sound noise looks this unlikely once in a million rehearsals.
UNLIKELY = 1e-6
# Correlations of n independent pairs have a deviation of 1 / sqrt(n), and by way of variances 2 / sqrt(n).
DEVIATIONS = 6.0

Noise = NDArray[np.float64]


def size_check(study: Study, secret: bytes, engine: EngineName) -> tuple[Check, float]:
    """χ² test that a step's noise has the deviation of the study's promise; also returns what it has, over C.

    At the study's own σ, which follows from its ε, δ, sampling rate and steps.
    """
    layer = canary_layer(study, study.privacy, engine, rounds=study.total_steps, steps=1)
    promised = promised_noise(layer.study)
    noise = layer.train(secret)
    likely = likelihood(noise, promised)
    found = float(np.sqrt(np.mean(noise**2)))
    return Check(
        name="noise size",
        passed=likely >= UNLIKELY,
        found=found / promised,
        limit=UNLIKELY,
        reason=f"{noise.size:,} draws have {found / promised:.1%} of the promised deviation, {promised:.4g} "
        f"times the clipping norm (χ² test: p = {likely:.2g})",
    ), found


def apart_check(study: Study, secret: bytes, engine: EngineName) -> Check:
    """That two sites, two rounds and two steps of a round have noise of their own.

    The variance of what two steps of a round add up to tells whether they share noise: of unit draws a and b
    it is 2 (1 + their correlation).
    """
    layer = canary_layer(study, rehearsal_promise(study), engine, rounds=1, steps=1)
    ours = layer.train(secret)
    # Any other secret will do; this one repeats when a simulation does.
    elsewhere = layer.train(hashlib.sha256(b"another site" + secret).digest())
    later = layer.train(secret, round_number=2)
    double = canary_layer(study, rehearsal_promise(study), engine, rounds=1, steps=2)
    both = double.train(secret)
    expected = 2 * (promised_noise(double.study) / promised_noise(layer.study)) ** 2
    shared = {
        "two sites": correlation(ours, elsewhere),
        "two rounds": correlation(ours, later),
        "two steps": _ratio(float(both @ both), expected * float(ours @ ours)) - 1,
    }
    worst = max(shared, key=lambda pair: abs(shared[pair]))
    limit = DEVIATIONS * 2 / math.sqrt(ours.size)
    return Check(
        name="noise apart",
        passed=abs(shared[worst]) <= limit,
        found=abs(shared[worst]),
        limit=limit,
        reason=f"the noise of {worst} correlates by {shared[worst]:.3f}, of independent noise at most by "
        f"{limit:.3f}",
    )


def everywhere_check(study: Study, network: nn.Module, secret: bytes, engine: EngineName) -> Check:
    """That no number that the study's network releases is without noise: none is alike in three rounds."""
    changed = study.model_copy(
        update={
            "privacy": rehearsal_promise(study),
            "rounds": 3,
            "training": TrainingSpec(steps=1, learning_rate=1.0, class_weights=study.training.class_weights),
        }
    )
    training = LocalTraining(
        study=changed,
        network=deepcopy(network),
        patients=Patients(somebody(study)),
        expected_patients=1,
        secret=secret,
        resources=Resources(engine=engine),
    )
    start = np.zeros(training.model_size, dtype=np.float32)
    updates = np.stack([training.run(number, start, None).update for number in (1, 2, 3)])
    bare = int((updates == updates[0]).all(axis=0).sum())
    return Check(
        name="noise everywhere",
        passed=bare == 0,
        found=bare,
        limit=0,
        reason=f"of {updates.shape[1]:,} numbers that the network releases, {bare:,} came without noise",
    )


def somebody(study: Study) -> Examples:
    """One synthetic patient with one image."""
    images = np.random.default_rng(0).normal(size=(1, study.task.channels, *study.task.image_size))
    nobody = np.zeros(1, dtype=np.int64)
    return Examples(images.astype(np.float32), nobody, nobody, covariates={})


def likelihood(noise: Noise, deviation: float) -> float:
    """Two-sided p of the χ² test that ``noise`` is normal with this deviation and mean zero."""
    statistic = float(np.sum((noise / deviation) ** 2))
    return 2 * min(float(chdtr(noise.size, statistic)), float(chdtrc(noise.size, statistic)), 0.5)


def correlation(one: Noise, other: Noise) -> float:
    """Of two draws with mean zero, from -1 to 1."""
    return _ratio(float(one @ other), math.sqrt(float(one @ one) * float(other @ other)))


def _ratio(part: float, whole: float) -> float:
    """Noise that is not there is shared by all."""
    return part / whole if whole else 1.0


def promised_noise(study: Study) -> float:
    """The noise multiplier that the study's promise asks for."""
    promised = noise_multiplier(study)
    if promised is None:
        raise PrivacyError(f"study {study.name} promises no privacy, so there is no noise to rehearse")
    return promised
