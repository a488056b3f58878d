"""A run's models as they lie on disk, read and checked: both sides may look at what was released.

A run is a folder with a ``study.json``, and its models lie in ``models/``, each as safetensors beside a
manifest that says where it comes from.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from pydantic import ValidationError
from safetensors.numpy import load
from torch import nn

from federation.errors import DataError
from federation.messages import Parameters
from federation.models import Layout, build_network, layout_of, set_parameters
from federation.schema import Frozen
from federation.study import Study


class Manifest(Frozen):
    """Where a model comes from.

    Attributes:
        version: its name, unique by content.
        parent: the version it was made of; None for the initial model.
        study_id: the study that made it.
        round: after which round; None for the average that is released.
        participants: whose updates went into it.
        epsilon: what it has cost the patients of each site so far, at ``delta``.
        sha256: of the safetensors file.
    """

    version: str
    parent: str | None
    study: str
    study_id: str
    round: int | None
    participants: tuple[str, ...]
    epsilon: dict[str, float | None]
    delta: float | None
    sha256: str


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


def models_of(run: Path) -> list[StoredModel]:
    """The models of the run in a folder, rounds before the released one.

    Raises:
        DataError: a manifest cannot be read.
    """
    manifests = [(read_manifest(file), file) for file in sorted((run / "models").glob("*.json"))]
    manifests.sort(key=lambda pair: (pair[0].round is None, pair[0].round or 0))
    return [StoredModel(manifest, file.with_suffix(".safetensors")) for manifest, file in manifests]


def read_manifest(path: Path) -> Manifest:
    """The manifest in a file.

    Raises:
        DataError: it is none.
    """
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise DataError(f"{path} cannot be read as a model's manifest; move it away: {error}") from error


def read_model(path: Path, layout: Layout, sha256: str) -> Parameters:
    """A model file as the flat array float32 ``[all]``.

    Args:
        path: the file.
        layout: of the network that it belongs to.
        sha256: that the file must have, by its manifest.

    Raises:
        DataError: the file was changed, or does not hold this network's parameters.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); its manifest is there") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise DataError(
            f"{path} has SHA-256 {found[:12]}, but its manifest says {sha256[:12]}; the file was changed, so "
            "take it from a copy of the run"
        )
    try:
        tensors = load(content)
    except Exception as error:
        raise DataError(f"{path} cannot be read as a model: {error}") from error
    held = {name: (values.dtype, values.shape) for name, values in tensors.items()}
    if held != {name: (np.dtype(np.float32), shape) for name, shape in layout.shapes}:
        raise DataError(f"{path} does not hold the parameters of this network; is it the same study?")
    return np.concatenate([tensors[name].reshape(-1) for name, _ in layout.shapes])
