"""``wardround-site doctor``: whether the installation is as it should be."""

import sys
from pathlib import Path

import click

from client_app.commands.site_option import site_option
from federation.command_line import print_table


@click.command()
@site_option
def doctor(file: Path) -> None:
    """Look at everything that site.yaml leads to, and say what to do; exit code 1 if there is a problem."""
    from client_app.books.findings import findings_table, sound  # noqa: PLC0415
    from client_app.doctor import examine  # noqa: PLC0415

    findings = examine(file)
    print_table(findings_table(findings))
    if not sound(findings):
        sys.exit(1)
