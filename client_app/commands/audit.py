"""``wardround-site audit``: whether what was promised is kept."""

import sys
from pathlib import Path
from typing import get_args

import click

from client_app.commands.site_option import site_option
from federation.audit_log import Event
from federation.command_line import print_table
from federation.errors import ConfigError


@click.group()
def audit() -> None:
    """Whether what was promised is kept."""


@audit.command()
@click.argument("overrides", nargs=-1)
@click.option(
    "--run",
    "run_folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder of a finished simulation: attack the model that it released.",
)
@click.option(
    "--to",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where privacy-audit.html and .json go, and replace what is there; by default the run's folder.",
)
def privacy(overrides: tuple[str, ...], run_folder: Path | None, to: Path | None) -> None:
    """Try a study's protection on synthetic patients, and attack what it releases.

    OVERRIDES are those of a run, e.g. study=chest_xray privacy.epsilon=1. With --run they may only say how
    the run is read, not make another study of it. The exit code is 1 if the protection fails its rehearsal.
    """
    # Torch and MONAI take seconds to load, so help is there at once.
    from client_app.audit.page import write_audit  # noqa: PLC0415
    from client_app.audit.privacy_audit import audit_privacy  # noqa: PLC0415
    from client_app.audit.table import audit_table  # noqa: PLC0415

    folder = to or run_folder
    if folder is None:
        raise ConfigError("there is no run whose folder the page could go to; give --to DIR")
    audited = audit_privacy(overrides, run_folder)
    page = write_audit(audited, folder)
    print_table(audit_table(audited.record))
    click.echo(page)
    if audited.record.rehearsal is not None and not audited.record.rehearsal.passed:
        sys.exit(1)


@audit.command()
@site_option
@click.option("--study", default="", help="Only of the study whose id begins so.")
@click.option("--event", type=click.Choice(get_args(Event)), help="Only of this kind.")
@click.option("--last", type=click.IntRange(min=1), help="Only so many, the latest.")
def show(file: Path, study: str, event: str | None, last: int | None) -> None:
    """List what has happened here, the oldest first; a custodian may be running."""
    from client_app.books.audit import audit_table, log_folder, read_log  # noqa: PLC0415
    from client_app.site import hospital  # noqa: PLC0415

    chosen = [
        link
        for link in read_log(log_folder(hospital(file)))
        if link.entry.study.startswith(study) and event in (None, link.entry.event)
    ]
    print_table(audit_table(chosen if last is None else chosen[-last:]))


@audit.command()
@site_option
@click.option(
    "--heads",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What somebody else holds of this log, e.g. a coordinator's audit-heads.jsonl; may be repeated.",
)
def verify(file: Path, heads: tuple[Path, ...]) -> None:
    """Read the whole log anew, and hold it against what others hold of it; exit code 1 if it is broken."""
    from client_app.books.audit import log_findings  # noqa: PLC0415
    from client_app.books.findings import findings_table, sound  # noqa: PLC0415
    from client_app.site import hospital  # noqa: PLC0415

    findings = list(log_findings(hospital(file), heads))
    print_table(findings_table(findings))
    if not sound(findings):
        sys.exit(1)
