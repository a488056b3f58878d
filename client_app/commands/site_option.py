"""``--config``: which hospital a command is about."""

from pathlib import Path

import click

site_option = click.option(
    "--config",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="WARDROUND_SITE",
    show_envvar=True,
    required=True,
    help="The hospital's site.yaml; WARDROUND_SITE in the environment says it once for all commands.",
)
