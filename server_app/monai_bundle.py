"""A MONAI bundle: a folder that MONAI's tools read, without this project installed.

configs/metadata.json   versions, input and output (``meta_schema_20240725``)
configs/inference.json  ``network_def`` and how images go through it
models/model.ts         the network as a program, which ``network_def`` loads
models/model.pt         its parameters, for ``monai.bundle.load``

Networks here are made ready for per-patient gradients after they were built, so MONAI's own classes with the
same arguments would not always be the same network; the program is.
"""

import json
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from federation.files import write_whole
from federation.stored_models import StoredModel
from server_app.programs import facts, torchscript

_SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
)

# Images are .npy files as the network takes them: what prepares them is the task's code, not MONAI's.
_INFERENCE = {
    "imports": ["$import pathlib", "$import numpy", "$import torch"],
    "bundle_root": ".",
    "device": "$torch.device('cpu')",
    "network_def": "$torch.jit.load(@bundle_root + '/models/model.ts', map_location=@device)",
    "inferer": {"_target_": "monai.inferers.SimpleInferer"},
    "dataset_dir": "$@bundle_root + '/images'",
    "files": "$sorted(str(path) for path in pathlib.Path(@dataset_dir).glob('*.npy'))",
    "images": "$torch.stack([torch.from_numpy(numpy.load(file)).float() for file in @files])",
    "probabilities": "$torch.softmax(@inferer(@images.to(@device), @network_def.eval()), 1)",
    "run": ["$print(dict(zip(@files, @probabilities.tolist())))"],
}


def write_bundle(model: StoredModel, folder: Path) -> None:
    """Write the bundle's configs and models below ``folder``.

    Raises:
        ConfigError: the network cannot be traced.
        StorageError: the disk did not take it.
    """
    network = model.network()
    parameters = BytesIO()
    torch.save({name: values.detach().clone() for name, values in network.state_dict().items()}, parameters)
    write_whole(folder / "models/model.ts", torchscript(network, model.study.task, facts(model)))
    write_whole(folder / "models/model.pt", parameters.getvalue())
    write_whole(folder / "configs/metadata.json", json.dumps(_metadata(model), indent=2).encode())
    write_whole(folder / "configs/inference.json", json.dumps(_INFERENCE, indent=2).encode())


def _metadata(model: StoredModel) -> dict[str, Any]:
    study, task, manifest = model.study, model.study.task, model.manifest
    return {
        "schema": _SCHEMA,
        "name": study.title,
        "version": "1.0.0",
        "changelog": {"1.0.0": f"{manifest.version}, of study {study.id}"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch"),
        "numpy_version": version("numpy"),
        "required_packages_version": {},
        "supported_apps": {},
        "task": study.title,
        "description": f"{study.title}: {' or '.join(task.classes)}. Purpose: {study.purpose}.",
        "intended_use": "research only; not a medical device",
        "authors": f"the hospitals {', '.join(manifest.participants)}",
        "copyright": f"the hospitals {', '.join(manifest.participants)}",
        "network_data_format": {
            "inputs": {"image": _image(model)},
            "outputs": {
                "pred": {
                    "type": "scores",
                    "format": "classes",
                    "num_channels": len(task.classes),
                    "spatial_shape": [],
                    "dtype": "float32",
                    "value_range": [],
                    "is_patch_data": False,
                    "channel_def": {str(number): name for number, name in enumerate(task.classes)},
                }
            },
        },
    }


def _image(model: StoredModel) -> dict[str, Any]:
    task = model.study.task
    return {
        "type": "image" if task.image_size else "tuple",
        "format": "magnitude",
        "modality": "n/a",
        "num_channels": task.channels,
        "spatial_shape": list(task.image_size),
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": False,
        "channel_def": {str(number): f"channel {number}" for number in range(task.channels)},
    }
