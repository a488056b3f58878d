"""``wardround-site consent``: who takes part in nothing any more."""

import getpass
from pathlib import Path

import click

from client_app.commands.site_option import site_option
from federation.errors import ConfigError


@click.group()
def consent() -> None:
    """Who takes part in nothing any more."""


@consent.command()
@click.argument("patients", metavar="PATIENT...", nargs=-1)
@click.option(
    "--csv",
    "table",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="A file with the column patient, so that no name is in the shell's history; - is standard input.",
)
@click.option("--by", help="Who says so; the audit log keeps the name. By default whoever is logged in.")
@site_option
def withdraw(patients: tuple[str, ...], table: Path | None, by: str | None, file: Path) -> None:
    """Leave patients out of every round that has not begun, in all studies, for good.

    PATIENT is what the hospital's data call the patient; of a store, what wardround-site ingest pseudonym
    tells. To say it twice changes nothing.
    """
    from client_app.commands.custodian_of import custodian_of  # noqa: PLC0415
    from client_app.desk.patient_list import patients_in  # noqa: PLC0415
    from client_app.desk.questions import Withdraw, question  # noqa: PLC0415

    named = (*patients, *(() if table is None else patients_in(table)))
    if not named:
        raise ConfigError("nobody was named; give PATIENT... or --csv FILE")
    done = custodian_of(file).withdraw(question(Withdraw, by=by or getpass.getuser(), patients=named))
    count = len(set(named))
    click.echo(f"withdrawn: all {count} named, {done.patients} of them for the first time")
    if done.known < count:
        click.echo(
            f"{count - done.known} of them were never in a study here under the name that was given. If you "
            "know that they were, the data spell it otherwise, and this withdrawal does not hold for them."
        )
