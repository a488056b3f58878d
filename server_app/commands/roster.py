"""``wardround-coordinator roster``: who takes part in secure sums."""

from pathlib import Path

import click

from federation.command_line import print_table

_FILE = click.Path(dir_okay=False, path_type=Path)
_KEY = click.option("--key", type=_FILE, required=True, help="The file of the coordinator's secret key.")


@click.group()
def roster() -> None:
    """Who takes part in secure sums: each hospital's key, signed by the coordinator.

    FILE is what a hospital writes with wardround-site roster key. Compare its words with those that are
    printed here, on the telephone, before anybody pins the roster.
    """


@roster.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=_FILE)
@_KEY
@click.option("--to", type=_FILE, required=True, help="A file that is not there yet.")
def create(files: tuple[Path, ...], key: Path, to: Path) -> None:
    """Sign a first roster; the coordinator's key is drawn if there is none."""
    from federation.roster_table import roster_table  # noqa: PLC0415
    from server_app.rosters import create_roster  # noqa: PLC0415

    print_table(roster_table(create_roster(key, to, files)))
    click.echo(to)


@roster.command()
@click.argument("file", metavar="ROSTER", type=_FILE)
@_KEY
@click.option("--add", multiple=True, metavar="FILE", type=_FILE, help="A hospital that joins; repeatable.")
@click.option("--remove", multiple=True, metavar="SITE", help="One that leaves; repeatable.")
def change(file: Path, key: Path, add: tuple[Path, ...], remove: tuple[str, ...]) -> None:
    """Sign the next version, in ROSTER's place; to replace a hospital's key, remove it and add it."""
    from federation.roster_table import roster_table  # noqa: PLC0415
    from server_app.rosters import change_roster  # noqa: PLC0415

    before, after = change_roster(key, file, add, remove)
    print_table(roster_table(after, before))
    click.echo(file)


@roster.command("show")
@click.argument("file", metavar="ROSTER", type=_FILE)
def show_roster(file: Path) -> None:
    """Print a roster's hospitals and their words."""
    from federation.roster_files import read_roster  # noqa: PLC0415
    from federation.roster_table import roster_table  # noqa: PLC0415

    print_table(roster_table(read_roster(file)))
