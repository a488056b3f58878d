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

_FILE = click.Path(dir_okay=False, path_type=Path)
_KEY = click.option("--key", type=_FILE, required=True, help="The file of the coordinator's secret key.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """Models that studies have made, what they say of images, hospitals' audit logs, and the roster.

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


@commands.group()
def roster() -> None:
    """Who takes part in secure sums: each hospital's key, signed by the coordinator.

    FILE is what a hospital writes with wardround-site roster key. Compare its words with those that are
    printed here, on the telephone, before anybody pins the roster.
    """


@roster.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=_FILE)
@_KEY
@click.option("--to", type=_FILE, required=True, help="A file that is not there yet.")
def create(files: tuple[Path, ...], key: Path, to: Path) -> None:
    """Sign a first roster; the coordinator's key is drawn if there is none."""
    from federation.roster_table import roster_table  # noqa: PLC0415
    from server_app.rosters import create_roster  # noqa: PLC0415

    print_table(roster_table(create_roster(key, to, files)))
    click.echo(to)


@roster.command()
@click.argument("file", metavar="ROSTER", type=_FILE)
@_KEY
@click.option("--add", multiple=True, metavar="FILE", type=_FILE, help="A hospital that joins; repeatable.")
@click.option("--remove", multiple=True, metavar="SITE", help="One that leaves; repeatable.")
def change(file: Path, key: Path, add: tuple[Path, ...], remove: tuple[str, ...]) -> None:
    """Sign the next version, in ROSTER's place; to replace a hospital's key, remove it and add it."""
    from federation.roster_table import roster_table  # noqa: PLC0415
    from server_app.rosters import change_roster  # noqa: PLC0415

    before, after = change_roster(key, file, add, remove)
    print_table(roster_table(after, before))
    click.echo(file)


@roster.command("show")
@click.argument("file", metavar="ROSTER", type=_FILE)
def show_roster(file: Path) -> None:
    """Print a roster's hospitals and their words."""
    from federation.roster_files import read_roster  # noqa: PLC0415
    from federation.roster_table import roster_table  # noqa: PLC0415

    print_table(roster_table(read_roster(file)))


def main() -> None:
    """Run the command line."""
    run(commands)
