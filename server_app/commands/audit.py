"""``wardround-coordinator audit``: whether hospitals' audit logs are still what they signed."""

import sys
from pathlib import Path

import click

from federation.command_line import print_table


@click.group()
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
