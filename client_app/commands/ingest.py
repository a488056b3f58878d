"""``wardround-site ingest``: from the hospital's archive and record into the site store."""

import sys
from pathlib import Path

import click

from client_app.commands.site_option import site_option
from federation.command_line import print_table


@click.group()
def ingest() -> None:
    """Fill the store of de-identified images, which studies learn from."""


@ingest.command()
@site_option
def check(file: Path) -> None:
    """Say whom the cohort would take and what is wrong with the data; nothing is written.

    Exit code 1 where the hospital has not what the cohort requires.
    """
    # pydicom and its like take a second to load, so help is there at once.
    from client_app.books.findings import findings_table, sound  # noqa: PLC0415
    from client_app.data.ingest.hospital import HospitalIngest, settings_of  # noqa: PLC0415
    from client_app.site import hospital  # noqa: PLC0415

    findings = HospitalIngest(settings_of(hospital(file))).quality()
    print_table(findings_table(findings))
    if not sound(findings):
        sys.exit(1)


@ingest.command()
@site_option
def pacs(file: Path) -> None:
    """Take the cohort's studies from the archive into the store; broken off, it goes on where it was."""
    from client_app.data.ingest.hospital import HospitalIngest, settings_of  # noqa: PLC0415
    from client_app.data.ingest.run import Taken  # noqa: PLC0415
    from client_app.site import hospital  # noqa: PLC0415

    def told(taken: Taken) -> None:
        click.echo(f"{taken.seen} of {taken.of} studies", err=True)

    version, refused = HospitalIngest(settings_of(hospital(file))).pacs(told)
    for rule, count in sorted(refused.items()):
        click.echo(f"refused by {rule}: {count}")
    click.echo(f"store version {version}")


@ingest.command()
@site_option
def consent(file: Path) -> None:
    """Ask again whose data may be used, and take out of the store whoever's may not."""
    from client_app.data.ingest.hospital import HospitalIngest, settings_of  # noqa: PLC0415
    from client_app.site import hospital  # noqa: PLC0415

    gone = HospitalIngest(settings_of(hospital(file))).consent()
    for rule, count in sorted(gone.items()):
        click.echo(f"{count} patients taken out by {rule}")
    click.echo(f"{sum(gone.values())} patients taken out")


@ingest.command()
@site_option
def card(file: Path) -> None:
    """Describe the store in numbers that are of nobody; and look whether it is whole: exit code 1 if not."""
    from client_app.data.ingest.hospital import settings_of  # noqa: PLC0415
    from client_app.data.store.card import card_of  # noqa: PLC0415
    from client_app.data.store.tables import card_table  # noqa: PLC0415
    from client_app.data.store.verify import verify  # noqa: PLC0415
    from client_app.site import hospital  # noqa: PLC0415
    from federation.site_store import open_store  # noqa: PLC0415

    store = settings_of(hospital(file)).store
    print_table(card_table(card_of(open_store(store))))
    problems = verify(store)
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        sys.exit(1)
