"""All models below a folder of runs, and the one that somebody names.

A run is a folder with a ``study.json``, and its models lie in ``models/``. What its comparison trained lies
deeper, was never released, and is not listed.
"""

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError
from torch import nn

from federation.errors import ConfigError, DataError
from federation.messages import Parameters
from federation.models import build_network, layout_of, set_parameters
from federation.schema import nearest
from federation.study import Study
from server_app.registry import Manifest, read_manifest, read_model

LATEST = "latest"


@dataclass(frozen=True)
class StoredModel:
    """A model of a run.

    Attributes:
        manifest: where it comes from.
        path: of the safetensors file.
    """

    manifest: Manifest
    path: Path

    @property
    def run(self) -> Path:
        """The folder of the run that made it."""
        return self.path.parents[1]

    @cached_property
    def study_json(self) -> bytes:
        """The run's ``study.json``; its SHA-256 is the study id.

        Raises:
            DataError: it cannot be read, or is not the study that the manifest names.
        """
        file = self.run / "study.json"
        try:
            content = file.read_bytes()
        except OSError as error:
            raise DataError(f"{file} cannot be read ({error.strerror})") from error
        # Of the bytes, not of what this version makes of them: a later version may know more settings.
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 != self.manifest.study_id:
            raise DataError(
                f"{file} is study {sha256[:12]}, but {self.manifest.version} was made by "
                f"{self.manifest.study_id[:12]}; one of the files was changed"
            )
        return content

    @cached_property
    def study(self) -> Study:
        """The study that made it; read when it is asked for, so one bad study hides no other model.

        Raises:
            DataError: as for ``study_json``, or it is none of this version.
        """
        try:
            return Study.model_validate_json(self.study_json)
        except ValidationError as error:
            raise DataError(
                f"{self.run / 'study.json'} is no study of this version of the program: {error}"
            ) from error

    def parameters(self) -> Parameters:
        """The model as the flat array float32 ``[all]``.

        Raises:
            DataError: the file is not the one that the manifest names, or not a model of the study.
        """
        network = build_network(self.study.model, self.study.task)
        return read_model(self.path, layout_of(network), self.manifest.sha256)

    def network(self) -> nn.Module:
        """The study's network with these parameters, in evaluation mode.

        Raises:
            DataError: as for ``parameters``.
        """
        network = build_network(self.study.model, self.study.task)
        set_parameters(network, read_model(self.path, layout_of(network), self.manifest.sha256))
        return network.eval()


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
            found += _models_of(Path(folder))
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
    for model in _models_of((runs / LATEST).resolve()):
        if model.manifest.round is None:
            return model
    raise ConfigError(f"model 'latest': {runs / LATEST} has released no model; name a version instead")


def _models_of(run: Path) -> list[StoredModel]:
    manifests = [(read_manifest(file), file) for file in sorted((run / "models").glob("*.json"))]
    manifests.sort(key=lambda pair: (pair[0].round is None, pair[0].round or 0))
    return [StoredModel(manifest, file.with_suffix(".safetensors")) for manifest, file in manifests]
