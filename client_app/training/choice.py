"""Which engine a site uses for a network.

Engines round differently, so the choice has to last: a seeded run that is resumed, or run by another of
Wardround's engines on this machine, must come to the same bits. It is measured once and remembered on disk;
of processes that measure at the same time, the first to write decides for all.
"""

import hashlib
import json
import logging
import time
from pathlib import Path
from typing import get_args

import torch
from torch import nn

from client_app.site import EngineName, Resources
from client_app.training.batches import Batch
from client_app.training.gradients import PatientGradients
from client_app.training.trained import random_examples, trained_part
from federation.cache import cache_folder
from federation.errors import PrivacyError, StorageError
from federation.files import locked, write_whole
from federation.study import Study

log = logging.getLogger("wardround.training")

_DEFAULT: EngineName = "book_keeping"
# Not ghost: its norms are Opacus', by Gram matrices in single precision, and a model made for it can have a
# patient's gradient cancel there (see engines.parts). It is there to compare with, by hand.
_CANDIDATES: tuple[EngineName, ...] = ("book_keeping", "functional", "hooks")
# Another engine is chosen only where its steps take less than this share of the default's.
_WORTH = 0.85
_PATIENTS, _REPETITIONS = 4, 3
# Raise it when an engine changes what it rounds or how long it takes.
_VERSION = 3


def engine_for(study: Study, network: nn.Module, resources: Resources) -> EngineName:
    """The engine that the hospital named for the study's ``network``, or the quickest.

    Raises:
        PrivacyError: no engine can do this network.
    """
    if resources.engine != "auto":
        return resources.engine
    return choose_engine(study, trained_part(study, network), random_examples(study, network, _PATIENTS))


def choose_engine(study: Study, trained: nn.Module, seen: torch.Tensor) -> EngineName:
    """The engine for ``study``: measured the first time, remembered afterwards.

    Args:
        study: names the network.
        trained: the part of the network that is trained.
        seen: random examples of what that part takes, ``[n, ...]``.

    Raises:
        PrivacyError: no engine can do this network.
    """
    if study.privacy.clipping_norm is None or isinstance(trained, nn.Linear):
        return _DEFAULT
    path = cache_folder() / f"engine-{_key(study)}.json"
    remembered = _read(path)
    if remembered is not None:
        return remembered
    try:
        with locked(path.with_suffix(".lock"), wait=True):
            remembered = _read(path)
            if remembered is None:
                remembered = quickest(trained, seen)
                write_whole(path, json.dumps(remembered).encode())
            return remembered
    except (OSError, StorageError) as error:
        log.warning("the choice of an engine cannot be remembered (%s), so nothing is measured", error)
        return _first_able(trained, seen)


def _key(study: Study) -> str:
    """What a choice holds for: network, shape of its images, library."""
    model, task = study.model, study.task
    parts = (
        _VERSION,
        torch.__version__,
        model.network,
        model.model_dump(mode="json")["arguments"],
        model.trainable,
        task.channels,
        task.image_size,
        len(task.classes),
    )
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _read(path: Path) -> EngineName | None:
    try:
        name = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return next((known for known in get_args(EngineName) if known == name), None)


def _first_able(trained: nn.Module, seen: torch.Tensor) -> EngineName:
    for name in _CANDIDATES:
        if _seconds(name, trained, seen, patience=0.0) is not None:
            return name
    raise PrivacyError(
        f"none of the engines {list(_CANDIDATES)} can bound what a patient adds; choose another model"
    )


def quickest(trained: nn.Module, seen: torch.Tensor) -> EngineName:
    """The default engine that can do it, unless another is clearly quicker now.

    Args:
        trained: what is trained, ``[n, ...]`` to scores ``[n, classes]``.
        seen: random examples of what it takes, ``[n, ...]``.

    Raises:
        PrivacyError: no engine can.
    """
    default = _first_able(trained, seen)
    seconds = {default: _seconds(default, trained, seen, float("inf")) or 0.0}
    for name in _CANDIDATES:
        taken = None if name in seconds else _seconds(name, trained, seen, patience=2 * seconds[default])
        if taken is not None:
            seconds[name] = taken
    fastest = min(seconds, key=lambda name: seconds[name])
    chosen = fastest if seconds[fastest] < _WORTH * seconds[default] else default
    log.info("engine %s, of CPU seconds a step %s", chosen, seconds)
    return chosen


def _seconds(name: EngineName, trained: nn.Module, seen: torch.Tensor, patience: float) -> float | None:
    """CPU seconds of a small batch, the best of a few; None if the engine cannot do it.

    One that takes longer than ``patience`` the first time is not asked again.
    """
    images = torch.cat([seen] * _PATIENTS)[:_PATIENTS]
    everybody = torch.ones(_PATIENTS, dtype=torch.bool)
    batch = Batch(images, torch.zeros(_PATIENTS, dtype=torch.int64), everybody)
    try:
        gradients = PatientGradients(trained, 1.0, engine=name)
        taken = [_timed(gradients, batch)]
    except PrivacyError as refusal:
        log.info("engine %s: %s", name, refusal)
        return None
    while taken[0] <= patience and len(taken) <= _REPETITIONS:
        taken.append(_timed(gradients, batch))
    return min(taken)


def _timed(gradients: PatientGradients, batch: Batch) -> float:
    begun = time.thread_time()
    gradients.total([batch])
    return time.thread_time() - begun
