"""``--runs``: which runs' models a command is about."""

from pathlib import Path

import click

runs_option = click.option(
    "--runs",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="The folder of runs.",
)
