"""``wardround-coordinator``: what whoever runs studies does with what they leave; wiring only."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from federation.command_line import print_table, run

# Torch and MONAI take seconds to load, so each command loads what it needs and help is there at once.
if TYPE_CHECKING:
    from server_app.export import Format

FORMATS = ("safetensors", "torchscript", "torch_export", "monai_bundle")

_RUNS = click.option(
    "--runs",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="The folder of runs.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """Models that studies have made, what they say of images, and hospitals' audit logs.

    VERSION is a model's version or its beginning, or "latest" for what the last run released.
    """


@commands.group()
def model() -> None:
    """The models below a folder of runs."""


@model.command("list")
@_RUNS
def list_models(runs: Path) -> None:
    """Every model, who made it and what it has cost their patients."""
    from server_app.library import stored_models  # noqa: PLC0415
    from server_app.library_tables import model_table  # noqa: PLC0415

    print_table(model_table(stored_models(runs)))


@model.command()
@click.argument("version")
@_RUNS
def show(version: str, runs: Path) -> None:
    """Where a model comes from."""
    from server_app.library import find_model  # noqa: PLC0415
    from server_app.library_tables import model_facts  # noqa: PLC0415

    print_table(model_facts(find_model(runs, version)))


@model.command()
@click.argument("version")
@click.option("--format", "kind", type=click.Choice(FORMATS), required=True, help="See above.")
@click.option("--to", type=click.Path(path_type=Path), required=True, help="A folder that is not there yet.")
@_RUNS
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


@commands.command()
@click.argument("version")
@click.argument("images_folder", type=click.Path(path_type=Path))
@click.option("--to", type=click.Path(path_type=Path), required=True, help="The CSV; it is replaced.")
@_RUNS
def predict(version: str, images_folder: Path, to: Path, runs: Path) -> None:
    """What a model says of each image in a folder, as a CSV: file, class, p_<class>.

    Images that cannot be read are named, and the exit code is then 1. Not for clinical use.
    """
    from server_app.library import find_model  # noqa: PLC0415
    from server_app.predict import predict_folder  # noqa: PLC0415

    predictions = predict_folder(find_model(runs, version), images_folder)
    predictions.write_csv(to)
    for file, reason in predictions.unreadable.items():
        click.echo(f"left out {file}: {reason}", err=True)
    click.echo(to)
    if predictions.unreadable:
        sys.exit(1)


@commands.group()
def audit() -> None:
    """Whether hospitals' audit logs are still what they signed."""


@audit.command()
@click.argument("run_folder", metavar="RUN", type=click.Path(file_okay=False, path_type=Path))
@click.option("--log", "exported", multiple=True, metavar="SITE=FOLDER", help="An exported log; repeatable.")
@click.option(
    "--heads",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The coordinator's book of audit heads, if the run was told another than its folder's.",
)
def verify(run_folder: Path, exported: tuple[str, ...], heads: Path | None) -> None:
    """Hold audit logs against the heads that the coordinator and other hospitals keep of them.

    Without --log, those below RUN/sites, as a simulation leaves them. The exit code is 1 if any is not what
    its hospital signed.
    """
    from server_app.audit_logs import verdict_table, verify_run  # noqa: PLC0415

    verdicts = verify_run(run_folder, exported, heads)
    print_table(verdict_table(verdicts))
    if any(verdict.problem for verdict in verdicts):
        sys.exit(1)


def main() -> None:
    """Run the command line."""
    run(commands)
