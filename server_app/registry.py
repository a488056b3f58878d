"""A run's models on disk: safetensors, each with a manifest that says where it comes from.

models/round-003.safetensors   one tensor a parameter, under the network's own names
models/round-003.json          the manifest
models/final.safetensors       the released model
"""

import hashlib
from pathlib import Path

import numpy as np
from pydantic import ValidationError
from safetensors.numpy import load, save

from federation.errors import DataError
from federation.files import write_whole
from federation.messages import Parameters
from federation.models import Layout
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


class Registry:
    """The models of one run.

    Args:
        folder: the run's folder.
        study: what the run computes.
        layout: names and shapes of the model's parameters.
    """

    def __init__(self, folder: Path, study: Study, layout: Layout) -> None:
        self._folder = folder / "models"
        self._study = study
        self._layout = layout

    def keep(
        self,
        parameters: Parameters,
        *,
        round_number: int | None,
        parent: str | None,
        participants: tuple[str, ...],
        epsilon: dict[str, float | None],
    ) -> Manifest:
        """Write a model and its manifest, each whole or not at all.

        Raises:
            StorageError: the disk did not take it.
        """
        name = _name(round_number)
        content = save(_named(parameters, self._layout))
        sha256 = hashlib.sha256(content).hexdigest()
        manifest = Manifest(
            version=f"{self._study.name}-{name}-{sha256[:12]}",
            parent=parent,
            study=self._study.name,
            study_id=self._study.id,
            round=round_number,
            participants=participants,
            epsilon=epsilon,
            delta=self._study.privacy.delta,
            sha256=sha256,
        )
        write_whole(self._folder / f"{name}.safetensors", content)
        write_whole(self._folder / f"{name}.json", manifest.model_dump_json(indent=2).encode())
        return manifest

    def read(self, round_number: int | None) -> Parameters:
        """The model of a round, or the released one, float32 ``[all]``.

        Raises:
            DataError: it is not there, or is not what its manifest says.
        """
        path = self._folder / f"{_name(round_number)}.safetensors"
        return read_model(path, self._layout, read_manifest(path.with_suffix(".json")).sha256)


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


def _name(round_number: int | None) -> str:
    return "final" if round_number is None else f"round-{round_number:03d}"


def _named(parameters: Parameters, layout: Layout) -> dict[str, Parameters]:
    sizes = [int(np.prod(shape, dtype=int)) for _, shape in layout.shapes]
    pieces = np.split(parameters, np.cumsum(sizes)[:-1])
    return {name: piece.reshape(shape) for (name, shape), piece in zip(layout.shapes, pieces, strict=True)}
