"""``wardround-site ledger``: what was spent of each patient's privacy."""

import sys
from pathlib import Path

import click

from client_app.commands.site_option import site_option
from federation.command_line import print_table


@click.group()
def ledger() -> None:
    """What studies have cost patients; a custodian may be running."""


@ledger.command()
@site_option
@click.option(
    "--page",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write this HTML file, for a board; it replaces what is there.",
)
def show(file: Path, page: Path | None) -> None:
    """Say what each study has cost, and how much of their budget patients have used."""
    # Torch takes seconds to load, so help is there at once.
    from client_app.books.ledger import ledger_file  # noqa: PLC0415
    from client_app.books.page import write_page  # noqa: PLC0415
    from client_app.books.statement import statement_of  # noqa: PLC0415
    from client_app.books.tables import patients_table, studies_table  # noqa: PLC0415
    from client_app.custodian.ledger.books import read_books  # noqa: PLC0415
    from client_app.site import hospital  # noqa: PLC0415

    config = hospital(file)
    statement = statement_of(config, read_books(ledger_file(config)))
    print_table(studies_table(statement))
    print_table(patients_table(statement))
    if page is not None:
        write_page(statement, page)
        click.echo(page)


@ledger.command()
@site_option
def verify(file: Path) -> None:
    """Look whether the ledger is whole and agrees with the audit log; exit code 1 if not."""
    from client_app.books.findings import findings_table, sound  # noqa: PLC0415
    from client_app.books.ledger import ledger_findings  # noqa: PLC0415
    from client_app.site import hospital  # noqa: PLC0415

    findings = list(ledger_findings(hospital(file)))
    print_table(findings_table(findings))
    if not sound(findings):
        sys.exit(1)


@ledger.command()
@site_option
@click.option(
    "--to",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="A file that is not there yet; its ending, .json or .csv, says what is written.",
)
def export(file: Path, to: Path) -> None:
    """Write all studies, approvals, reservations and charges to a file; of patients, only how many."""
    from client_app.books.export import export as write  # noqa: PLC0415
    from client_app.books.ledger import ledger_file  # noqa: PLC0415
    from client_app.books.statement import statement_of  # noqa: PLC0415
    from client_app.custodian.ledger.books import read_books  # noqa: PLC0415
    from client_app.site import hospital  # noqa: PLC0415

    config = hospital(file)
    books = read_books(ledger_file(config))
    write(statement_of(config, books), books, to)
    click.echo(to)
