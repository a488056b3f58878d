"""A model for others to take away: one folder, whole or not there at all.

Every format comes with ``manifest.json``, ``study.json`` and the model card, so that nobody has to ask where
a model is from. What torch has written is read back and must give the same scores before anybody sees it.
"""

import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch

from federation.errors import ConfigError, StorageError
from federation.files import write_whole
from federation.stored_models import StoredModel
from server_app.monai_bundle import write_bundle
from server_app.programs import exported_program, facts, torchscript

Format = Literal["safetensors", "torchscript", "torch_export", "monai_bundle"]


def export_model(model: StoredModel, kind: Format, to: Path) -> None:
    """Write ``model`` into the new folder ``to``.

    Raises:
        ConfigError: ``to`` is not empty, or the format cannot hold this network.
        DataError: the stored model or its study was changed.
        StorageError: the disk did not take it; nothing is left.
    """
    if to.exists() and not (to.is_dir() and not any(to.iterdir())):
        raise ConfigError(f"--to {to} is not an empty folder; nothing is written over, so choose another")
    with _appearing(to) as folder:
        _WRITERS[kind](model, folder)


def _safetensors(model: StoredModel, folder: Path) -> None:
    model.parameters()  # refuses a file that was changed
    write_whole(folder / "model.safetensors", model.path.read_bytes())
    _write_papers(model, folder, "`model.safetensors`: a float32 tensor for each parameter, by name")


def _torchscript(model: StoredModel, folder: Path) -> None:
    program = torchscript(model.network(), model.study.task, facts(model))
    write_whole(folder / "model.ts", program)
    _write_papers(model, folder, "`model.ts`: `torch.jit.load` reads it; torch calls TorchScript deprecated")


def _torch_export(model: StoredModel, folder: Path) -> None:
    program = exported_program(model.network(), model.study.task, facts(model))
    write_whole(folder / "model.pt2", program)
    _write_papers(
        model, folder, f"`model.pt2`: `torch.export.load(...).module()`, written by torch {torch.__version__}"
    )


def _monai_bundle(model: StoredModel, folder: Path) -> None:
    write_bundle(model, folder)
    _write_papers(
        model,
        folder / "docs",
        "The bundle's `network_def` works where `bundle_root` is the bundle, e.g. the working folder",
        "README.md",
    )


_WRITERS: dict[Format, Callable[[StoredModel, Path], None]] = {
    "safetensors": _safetensors,
    "torchscript": _torchscript,
    "torch_export": _torch_export,
    "monai_bundle": _monai_bundle,
}


def _write_papers(model: StoredModel, folder: Path, what: str, card: str = "model_card.md") -> None:
    """What goes with a model in every format."""
    task = model.study.task
    size = ", ".join(str(side) for side in (task.channels, *task.image_size))
    here = (
        f"\n## In this export\n\n{what}. It maps float32 `[n, {size}]`, prepared as the task "
        f"`{task.package}` does it, to scores `[n, {len(task.classes)}]` of {', '.join(task.classes)}; "
        "softmax makes probabilities of them. `manifest.json` and `study.json` say where it is from.\n"
    )
    write_whole(folder / card, (_card(model) + here).encode())
    write_whole(folder / "manifest.json", model.manifest.model_dump_json(indent=2).encode())
    write_whole(folder / "study.json", model.study_json)


def _card(model: StoredModel) -> str:
    """The run's card if it is about this model, or that there is none."""
    file, manifest = model.run / "model_card.md", model.manifest
    if manifest.round is None and file.exists():
        return file.read_text()
    spent = "; ".join(
        f"{name}: {'none was promised' if epsilon is None else f'{epsilon:.2f}'}"
        for name, epsilon in manifest.epsilon.items()
    )
    stage = "the released model" if manifest.round is None else f"the model after round {manifest.round}"
    return (
        f"# {manifest.version}\n\n{model.study.title}: {stage} of study `{manifest.study_id}`, which was "
        f"never measured by itself. **Not a medical device.**\n\nε so far by hospital: {spent}.\n"
    )


@contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """A scratch folder beside ``target`` that takes its place once all has gone well.

    Raises:
        StorageError: the disk did not take it.
    """
    scratch = target.absolute().with_name(f".{target.absolute().name}.{uuid.uuid4().hex}")
    try:
        scratch.mkdir(parents=True)
        yield scratch
        scratch.replace(target)  # an empty folder gives way
    except OSError as error:
        raise StorageError(f"{target} could not be written ({error.strerror}); nothing is left") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
