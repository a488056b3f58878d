"""A network as a program that runs without this project: TorchScript, or what ``torch.export`` makes.

Both are read back and must give the network's scores, for batches of other sizes than the one they were made
with, before anybody gets them.
"""

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import torch
from torch import nn

from federation.errors import ConfigError
from federation.stored_models import StoredModel
from federation.study import TaskSpec

FACTS = "metadata.json"
"""The name under which both formats carry what ``facts`` says; MONAI looks for it there."""

_TOLERANCE = 1e-5

_jit: Any = torch.jit  # which has no types

Network = Callable[[torch.Tensor], torch.Tensor]


def facts(model: StoredModel) -> str:
    """What a program has to carry with it: origin, input and output, as JSON."""
    task = model.study.task
    return json.dumps(
        {
            **model.manifest.model_dump(mode="json"),
            "task": task.name,
            "classes": task.classes,
            "input": ["n", task.channels, *task.image_size],
            "output": ["n", len(task.classes)],
        }
    )


def torchscript(network: nn.Module, task: TaskSpec, metadata: str) -> bytes:
    """``network`` traced, as the content of a ``.ts`` file.

    Raises:
        ConfigError: the network cannot be traced, or the trace gives other scores.
    """
    content = BytesIO()
    with _refusing("torchscript"), _without_known_warnings(), torch.no_grad():
        _jit.save(_jit.trace(network, some_input(task, 2)), content, {FACTS: metadata})
        content.seek(0)
        _check_same(network, _jit.load(content), task)
    return content.getvalue()


def exported_program(network: nn.Module, task: TaskSpec, metadata: str) -> bytes:
    """``network`` exported with batches of any size, as the content of a ``.pt2`` file.

    Raises:
        ConfigError: the network cannot be exported, or the program gives other scores.
    """
    content = BytesIO()
    with _refusing("torch_export"), torch.no_grad():
        batches = ({0: torch.export.Dim("batch")},)
        program = torch.export.export(network, (some_input(task, 2),), dynamic_shapes=batches)
        torch.export.save(program, content, extra_files={FACTS: metadata})
        content.seek(0)
        _check_same(network, torch.export.load(content).module(), task)
    return content.getvalue()


def some_input(task: TaskSpec, count: int) -> torch.Tensor:
    """Random input of the task's shape, float32 ``[count, channels, ...]``, the same each time."""
    generator = torch.Generator().manual_seed(count)
    return torch.rand(count, task.channels, *task.image_size, generator=generator)


def _check_same(network: Network, program: Network, task: TaskSpec) -> None:
    for count in (1, 5):
        images = some_input(task, count)
        apart = float((network(images) - program(images)).abs().max())
        if not apart <= _TOLERANCE:
            raise ValueError(f"read back, it gives scores that are {apart:.2g} off on {count} random images")


@contextmanager
def _refusing(kind: str) -> Iterator[None]:
    """Torch has no one error for what it cannot convert, so any is an honest no."""
    try:
        yield
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ConfigError(f"--format {kind} cannot hold this network: {reason[0]}; try another") from error


@contextmanager
def _without_known_warnings() -> Iterator[None]:
    """Torch says of all of TorchScript that it is deprecated, as the command's help does once."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", FutureWarning)
        # A trace keeps only the way that the images it saw took. Torch's own layers ask no more than shapes.
        warnings.simplefilter("error", _jit.TracerWarning)
        warnings.filterwarnings(
            "ignore", "Converting a tensor to a Python boolean", _jit.TracerWarning, r"torch\.nn\."
        )
        yield
