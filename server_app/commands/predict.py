"""``wardround-coordinator predict``: what a model says of images."""

import sys
from pathlib import Path

import click

from server_app.commands.runs_option import runs_option


@click.command()
@click.argument("version")
@click.argument("images_folder", type=click.Path(path_type=Path))
@click.option("--to", type=click.Path(path_type=Path), required=True, help="The CSV; it is replaced.")
@runs_option
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
