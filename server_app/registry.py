"""A run's models on disk: safetensors, each with a manifest that says where it comes from.

models/round-003.safetensors   one tensor a parameter, under the network's own names
models/round-003.json          the manifest
models/final.safetensors       the released model
"""

import hashlib
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from federation.files import write_whole
from federation.messages import Parameters
from federation.models import Layout
from federation.stored_models import Manifest, read_manifest, read_model
from federation.study import Study


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


def _name(round_number: int | None) -> str:
    return "final" if round_number is None else f"round-{round_number:03d}"


def _named(parameters: Parameters, layout: Layout) -> dict[str, Parameters]:
    sizes = [int(np.prod(shape, dtype=int)) for _, shape in layout.shapes]
    pieces = np.split(parameters, np.cumsum(sizes)[:-1])
    return {name: piece.reshape(shape) for (name, shape), piece in zip(layout.shapes, pieces, strict=True)}
