"""All models below a folder of runs, and the one that somebody names.

A run is a folder with a ``study.json``, and its models lie in ``models/``. What its comparison trained lies
deeper, was never released, and is not listed.
"""

import os
from pathlib import Path

from federation.errors import ConfigError
from federation.schema import nearest
from federation.stored_models import StoredModel, models_of

LATEST = "latest"


def stored_models(runs: Path) -> list[StoredModel]:
    """Every model below ``runs``, in the order of their folders, rounds before the released one.

    Raises:
        DataError: a manifest cannot be read.
    """
    found: list[StoredModel] = []
    for folder, below, files in os.walk(runs):
        below.sort()
        if "study.json" in files:
            below.clear()
            found += models_of(Path(folder))
    return found


def find_model(runs: Path, version: str) -> StoredModel:
    """The model of that version, or the only one whose version begins so.

    Args:
        runs: the folder of runs.
        version: as ``stored_models`` lists it, or its beginning, or ``latest``: what the last run released.

    Raises:
        ConfigError: there is no such model, or several; naming the nearest.
        DataError: a manifest cannot be read.
    """
    if version == LATEST:
        return _latest(runs)
    # Equal models of repeated runs share a version; the last of them stands for all.
    models = {model.manifest.version: model for model in stored_models(runs)}
    matching = [version] if version in models else [known for known in models if known.startswith(version)]
    if not matching:
        raise ConfigError(f"model {version!r} is not in {runs}; {nearest(version, [*models, LATEST])}")
    if len(matching) > 1:
        raise ConfigError(f"model {version!r} is the beginning of {len(matching)}: {', '.join(matching)}")
    return models[matching[0]]


def _latest(runs: Path) -> StoredModel:
    for model in models_of((runs / LATEST).resolve()):
        if model.manifest.round is None:
            return model
    raise ConfigError(f"model 'latest': {runs / LATEST} has released no model; name a version instead")
