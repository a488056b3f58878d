"""Where noise is distributed: is a site's share of it as large as promised, everywhere, and nowhere twice?

All of it is drawn through ``LocalTraining.share``, so that what is looked at is what a site would mask and
send. Guarantee that is tested: the shares of the sites that do not collude, of the fewest that a sum is
opened over, add up to the noise of the study's promise; unit = patient, adjacency = add or remove one
patient. Assumption: the other sites pass the same test. As wide as ``noise_checks``, so that sound code fails
less than once in 100,000 rehearsals.
"""

import hashlib
import math
from copy import deepcopy

import numpy as np
from torch import nn

from client_app.audit.canaries import Layer, canary_layer
from client_app.audit.noise_checks import (
    DEVIATIONS,
    UNLIKELY,
    Noise,
    correlation,
    likelihood,
    promised_noise,
    somebody,
)
from client_app.audit.records import Check
from client_app.site import EngineName, Resources
from client_app.training.batches import Patients
from client_app.training.local_round import LocalTraining
from federation.errors import PrivacyError
from federation.secure_sum.transcript import Words
from federation.study import Study
from federation.sums import training_grid

# So many patients go the same way that their sum is beyond the grid, which ends at so many clipping norms.
_CROWD, _BOUND = 30, 10.0
# What a bright canary's gradient has left for its neighbours, and float32 for its own.
_ROUNDING = 1e-3


def share_check(study: Study, network: nn.Module, secret: bytes, engine: EngineName) -> tuple[Check, float]:
    """All of it in one test; also returns the noise multiplier that shares as they are add up to."""
    layer = canary_layer(study, study.privacy, engine, rounds=study.total_steps, steps=1)
    noise = _noise(layer.share(secret))
    size, part = _size(layer, noise)
    tests = (
        size,
        _apart(layer, noise, secret),
        _everywhere(study, network, secret, engine),
        _constants(study, secret, engine),
    )
    decided = next((test for test in tests if not test.passed), size)
    reason = "; ".join(test.reason for test in tests)
    return decided.model_copy(update={"reason": reason}), part * promised_noise(study)


def _check(passed: bool, found: float, limit: float, reason: str) -> Check:
    return Check(name="noise share", passed=passed, found=found, limit=limit, reason=reason)


def _noise(words: Words) -> Noise:
    """What a site without patients sends, in levels, without the weight."""
    return words[1:].view(np.int32).astype(np.float64)


def _promised(study: Study, numbers: int) -> float:
    """The deviation of a share in levels, straight from the promise.

    So many honest shares have to hide one patient, whom rounding lets move the sum by a little more.
    """
    parties, norm = study.parties, study.privacy.clipping_norm
    if study.privacy.mode != "distributed" or parties is None or norm is None:
        raise PrivacyError(f"privacy={study.privacy.mode} has no shares of noise to rehearse")
    levels = norm / training_grid(study, numbers).unit + math.sqrt(numbers)
    return promised_noise(study) * levels / math.sqrt(parties.honest)


def _size(layer: Layer, noise: Noise) -> tuple[Check, float]:
    """χ² test of the deviation, and what part of the promised one it is."""
    promised = _promised(layer.study, layer.size)
    likely = likelihood(noise, promised)
    part = float(np.sqrt(np.mean(noise**2))) / promised
    return _check(
        likely >= UNLIKELY,
        part,
        UNLIKELY,
        f"{noise.size:,} draws of one hospital's share have {part:.1%} of the deviation that it owes to the "
        f"sum (χ² test: p = {likely:.2g})",
    ), part


def _apart(layer: Layer, ours: Noise, secret: bytes) -> Check:
    """That two sites, and two rounds, have noise of their own."""
    # Any other secret will do; this one repeats when a simulation does.
    elsewhere = layer.share(hashlib.sha256(b"another site" + secret).digest())
    shared = {
        "two sites": correlation(ours, _noise(elsewhere)),
        "two rounds": correlation(ours, _noise(layer.share(secret, round_number=2))),
    }
    worst = max(shared, key=lambda pair: abs(shared[pair]))
    found, limit = abs(shared[worst]), DEVIATIONS / math.sqrt(ours.size)
    reason = f"the shares of {worst} correlate by {found:.3f}, independent ones at most by {limit:.3f}"
    return _check(found <= limit, found, limit, reason)


def _everywhere(study: Study, network: nn.Module, secret: bytes, engine: EngineName) -> Check:
    """That no number of the study's network is sent without noise: none is alike in all of a few rounds."""
    training = LocalTraining(
        study=study,
        network=deepcopy(network),
        patients=Patients(somebody(study)),
        expected_patients=1,
        # The study's own rounds must not lie bare here.
        secret=hashlib.sha256(b"rehearsal" + secret).digest(),
        resources=Resources(engine=engine),
    )
    # The chance that two integers of a normal distribution are alike; a coarse grid takes more rounds.
    alike = 1 / (2 * math.sqrt(math.pi) * _promised(study, training.trainable))
    rounds = 1 + math.ceil(math.log(UNLIKELY / training.trainable) / math.log(min(alike, 0.5)))
    start = np.zeros(training.model_size, dtype=np.float32)
    first = training.share(1, start)
    bare = np.ones(training.trainable, dtype=bool)
    for number in range(2, rounds + 1):
        bare &= training.share(number, start)[1:] == first[1:]
    found = int(bare.sum())
    reason = f"of {training.trainable:,} numbers that a share has, {found:,} came without noise"
    return _check(found == 0, found, 0, reason)


def _constants(study: Study, secret: bytes, engine: EngineName) -> Check:
    """That what data become on the grid follows from the study alone, and a site's weight is 1.

    A crowd goes beyond the grid's end at the first canary's two numbers, and one patient stays within it at
    the second's. The noise of a round is the same with them and without, so it can be taken off.
    """
    norm = study.privacy.clipping_norm or 1.0
    spec = study.secure_sum and study.secure_sum.model_copy(update={"clip_bound": _BOUND * norm})
    changed = study.model_copy(update={"secure_sum": spec})
    layer = canary_layer(
        changed, study.privacy.model_copy(update={"sampling_rate": 1.0}), engine, rounds=1, steps=1
    )
    nobody = layer.share(secret)
    crowd = layer.share(secret, who=np.repeat([0, 1], [_CROWD, 1]))
    weights = {int(nobody[0]), int(crowd[0])}
    levels = training_grid(layer.study, layer.size).levels
    sent = (crowd - nobody)[1 : 1 + 2 * layer.canaries].view(np.int32).astype(np.float64) / levels
    expected = np.zeros((2, layer.canaries))
    expected[:, 0] = 1.0
    expected[:, 1] = 1 / (math.sqrt(2) * _BOUND)
    # Of the two classes, a gradient is as much for the one as it is against the other.
    expected[1] *= -1
    error = float(np.abs(sent - expected.ravel()).max())
    passed = error <= _ROUNDING and weights == {1}
    counts = " or ".join(str(weight) for weight in sorted(weights))
    reason = (
        "what a crowd and a single patient add lies where the study's grid has it, within "
        f"{error:.1g} of its length; a hospital counts as {counts}"
    )
    return _check(passed, error, _ROUNDING, reason)
