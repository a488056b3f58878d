"""Stored models as tables for a terminal."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from federation.against import headline, travel
from federation.stored_models import StoredModel
from federation.unit import at_delta


def model_table(models: Sequence[StoredModel]) -> Table:
    """A row for each model."""
    table = Table(box=SIMPLE_HEAD, caption=f"ε is {at_delta(None)}, at that δ; show says against whom.")
    for name in ("version", "round", "hospitals", "largest ε", "δ", "run"):
        table.add_column(name, overflow="fold")  # whole, since it is copied into the next command
    for model in models:
        manifest = model.manifest
        table.add_row(
            manifest.version,
            _stage(model),
            ", ".join(manifest.participants),
            _largest(model),
            "" if manifest.delta is None else f"{manifest.delta:g}",
            model.run.name,
        )
    return table


def model_facts(model: StoredModel) -> Table:
    """Where a model comes from, a fact a row."""
    manifest, study = model.manifest, model.study
    table = Table(box=None, show_header=False)
    for name, value in {
        "version": manifest.version,
        "stage": _stage(model),
        "parent": manifest.parent or "the initial model",
        "study": f"{study.title} ({manifest.study}, id {manifest.study_id})",
        "purpose": study.purpose,
        "network": f"{study.model.network}, trained: {study.model.trainable}",
        "input": " x ".join(str(side) for side in (study.task.channels, *study.task.image_size)),
        "classes": ", ".join(study.task.classes),
        "hospitals": ", ".join(manifest.participants),
        "ε so far": "; ".join(f"{site}: {_shown(spent)}" for site, spent in manifest.epsilon.items()),
        "that is": "no promise"
        if manifest.delta is None
        else f"{at_delta(manifest.delta)}, against {headline(study)}",
        "updates": f"travelled {travel(study)}",
        "SHA-256": manifest.sha256,
        "file": str(model.path),
    }.items():
        table.add_row(name, value)
    table.columns[1].overflow = "fold"
    return table


def _stage(model: StoredModel) -> str:
    return "released" if model.manifest.round is None else str(model.manifest.round)


def _largest(model: StoredModel) -> str:
    known = [spent for spent in model.manifest.epsilon.values() if spent is not None]
    return _shown(max(known, default=None))


def _shown(spent: float | None) -> str:
    return "no privacy" if spent is None else f"{spent:.2f}"
