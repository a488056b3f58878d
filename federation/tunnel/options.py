"""The options that both commands have."""

from pathlib import Path

import click

connection_option = click.option(
    "--connection",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="The folder that the kit was installed into.",
)
proxy_option = click.option(
    "--proxy",
    metavar="URL",
    envvar="WARDROUND_PROXY",
    show_envvar=True,
    help="The HTTP proxy that leads out, http://[user@]host:port.",
)
password_option = click.option(
    "--proxy-password",
    "password",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file with the proxy's password; other users see what stands on a command line.",
)
