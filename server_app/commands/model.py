"""``wardround-coordinator model``: the models that studies have made."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from federation.command_line import print_table
from server_app.commands.runs_option import runs_option

# Torch and MONAI take seconds to load, so each command loads what it needs and help is there at once.
if TYPE_CHECKING:
    from server_app.export import Format

FORMATS = ("safetensors", "torchscript", "torch_export", "monai_bundle")


@click.group()
def model() -> None:
    """The models below a folder of runs."""


@model.command("list")
@runs_option
def list_models(runs: Path) -> None:
    """Every model, who made it and what it has cost their patients."""
    from server_app.library import stored_models  # noqa: PLC0415
    from server_app.library_tables import model_table  # noqa: PLC0415

    print_table(model_table(stored_models(runs)))


@model.command()
@click.argument("version")
@runs_option
def show(version: str, runs: Path) -> None:
    """Where a model comes from."""
    from server_app.library import find_model  # noqa: PLC0415
    from server_app.library_tables import model_facts  # noqa: PLC0415

    print_table(model_facts(find_model(runs, version)))


@model.command()
@click.argument("version")
@click.option("--format", "kind", type=click.Choice(FORMATS), required=True, help="See above.")
@click.option("--to", type=click.Path(path_type=Path), required=True, help="A folder that is not there yet.")
@runs_option
def export(version: str, kind: "Format", to: Path, runs: Path) -> None:
    """Write a model into a folder of its own, with its manifest, study and card.

    \b
    safetensors   its parameters by name
    torchscript   a program for torch.jit.load; TorchScript is deprecated, still much used
    torch_export  a program for torch.export.load, of the same version of torch
    monai_bundle  a MONAI bundle, with the TorchScript program inside
    """  # noqa: D301  (click's mark for lines that are not to be filled)
    from server_app.export import export_model  # noqa: PLC0415
    from server_app.library import find_model  # noqa: PLC0415

    export_model(find_model(runs, version), kind, to)
    click.echo(to)
