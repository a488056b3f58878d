"""The rehearsal: a study's protection is tried on synthetic patients before it is trusted with real ones.

It runs the site's own code for gradients, clipping and noise, touches no patient's data and spends no budget.
One run proves little where ε is large or patients are sampled (Steinke, Nasr & Jagielski 2023), so the
canaries play where they prove most: every patient in the step, noise for ε = 3. The other tests look at noise
and clipping themselves, at the study's own settings. A single site can only be tried with all of the noise;
where the study distributes it, there is one more test, of the site's share.
"""

import hashlib
import math
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from threading import Lock

import numpy as np
from torch import nn

import client_app.audit
import client_app.training
import federation
from client_app.audit.canaries import CANARIES, canary_layer, rehearsal_promise
from client_app.audit.noise_checks import apart_check, everywhere_check, size_check
from client_app.audit.one_run import epsilon_at_least
from client_app.audit.records import CanaryGame, Check, Rehearsal
from client_app.audit.sensitivity import sensitivity_check
from client_app.audit.share_checks import share_check
from client_app.site import EngineName
from federation.cache import Arrays, cached
from federation.errors import PrivacyError
from federation.promise import noise_multiplier
from federation.study import PrivacyMode, Study

# The clearest 700 of 5000: more abstain from what they could win, fewer are too few to prove much.
_GUESSES = 700
# Sound code proves ε of 1.8 ± .15 here, code with half its noise 3.6 or more, against the promised 3.
_CONFIDENCE = 0.95

_rehearsing = Lock()


def rehearse(study: Study, network: nn.Module, secret: bytes, engine: EngineName) -> Rehearsal:
    """Try everything; a failed test is told in the result.

    Args:
        study: that is to be trained; one with a promise of privacy.
        network: the study's, from ``build_network``; it is left as it is.
        secret: the site's; the rehearsal's noise has addresses that no study has.
        engine: by which the site trains the study.

    Raises:
        PrivacyError: the study promises no privacy.
    """
    local = _locally(study)
    size, found = size_check(local, secret, engine)
    game, canaries = _play(local, secret, engine)
    sensitivity, contributions = sensitivity_check(local, network, engine)
    checks = [
        canaries,
        size,
        apart_check(local, secret, engine),
        everywhere_check(local, network, secret, engine),
        sensitivity,
    ]
    if study.privacy.mode == "distributed":
        share, found = share_check(study, network, secret, engine)
        checks.append(share)
    return Rehearsal(
        checks=tuple(checks),
        game=game,
        contributions=contributions,
        noise_multiplier=noise_multiplier(study) or math.nan,
        noise_found=found,
    )


def require_rehearsal(study: Study, network: nn.Module, secret: bytes, engine: EngineName) -> Rehearsal:
    """A rehearsal that was passed, here or earlier on this machine with the same code and settings.

    Assumption: whoever can write into the cache of a site could as well change its code.

    Raises:
        PrivacyError: a test failed; nothing may then be trained.
    """

    def passed() -> Arrays:
        rehearsal = _refuse_failed(rehearse(study, network, secret, engine))
        return {"record": np.frombuffer(rehearsal.model_dump_json().encode(), dtype=np.uint8)}

    # Many simulated hospitals open a study at once; the first one rehearses for all.
    with _rehearsing:
        kept = cached(f"rehearsal-{study.name}", _fingerprint(study, engine), passed)
    return _refuse_failed(Rehearsal.model_validate_json(kept["record"].tobytes()))


def _refuse_failed(rehearsal: Rehearsal) -> Rehearsal:
    if not rehearsal.passed:
        raise PrivacyError(
            f"rehearsal failed: {rehearsal.failures}; nothing is trained with this code: install a "
            "release whose tests pass"
        )
    return rehearsal


def _locally(study: Study) -> Study:
    """The study with all noise at each site, where a single one can be tried.

    Sampling, gradients and clipping are the same code; where noise is distributed, shares have a test of
    their own.
    """
    mode: PrivacyMode = "local" if study.privacy.mode == "distributed" else study.privacy.mode
    privacy = study.privacy.model_copy(update={"mode": mode})
    return study.model_copy(update={"privacy": privacy, "aggregation": "plain", "secure_sum": None})


def _play(study: Study, secret: bytes, engine: EngineName) -> tuple[CanaryGame, Check]:
    """The canaries' game: coins, one step, guesses, and what they prove."""
    promise = rehearsal_promise(study)
    # Coins from elsewhere than the noise, so that noise which is not random cannot know them.
    coins = np.random.default_rng(list(hashlib.sha256(b"coins" + secret).digest())).random(CANARIES) < 0.5
    layer = canary_layer(study, promise, engine, rounds=1, steps=1)
    lean = layer.scores(layer.train(secret, coins)) - 0.5
    named = np.argsort(-np.abs(lean))[:_GUESSES]
    right = int(((lean[named] > 0) == coins[named]).sum())
    epsilon, delta = promise.epsilon or math.nan, promise.delta or math.nan
    game = CanaryGame(
        canaries=CANARIES,
        guesses=_GUESSES,
        right=right,
        promised=epsilon,
        delta=delta,
        at_least=epsilon_at_least(CANARIES, _GUESSES, right, delta, _CONFIDENCE),
        confidence=_CONFIDENCE,
    )
    return game, Check(
        name="canaries",
        passed=game.at_least <= epsilon,
        found=game.at_least,
        limit=epsilon,
        reason=f"{right} of {_GUESSES} guesses were right, which proves ε to be at least {game.at_least:.2f} "
        f"where this test's noise allows {epsilon:g}",
    )


def _fingerprint(study: Study, engine: EngineName) -> str:
    """SHA-256 of everything that a rehearsal's outcome follows from."""
    parts = (
        _code(),
        engine,
        *(f"{package} {version(package)}" for package in ("torch", "opacus", "monai", "numpy")),
        study.model.model_dump_json(),
        repr((study.task.channels, study.task.image_size, study.task.classes)),
        study.privacy.model_dump_json(),
        repr((study.parties, study.secure_sum)),
        study.training.model_dump_json(exclude={"steps", "learning_rate", "momentum"}),
        repr(study.total_steps),
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@lru_cache(maxsize=1)
def _code() -> str:
    """SHA-256 of the code that is rehearsed, and of that which rehearses."""
    digest = hashlib.sha256()
    for package in (client_app.training, client_app.audit, federation):
        for file in sorted(Path(str(package.__file__)).parent.rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()
