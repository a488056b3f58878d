"""``wardround-site roster``: whose keys this hospital believes where sums are secure."""

from pathlib import Path

import click

from client_app.commands.site_option import site_option
from client_app.commands.study import by_option
from federation.command_line import print_table
from federation.errors import ConfigError

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group()
def roster() -> None:
    """Which hospitals take part in secure sums, and whose keys these are.

    The coordinator signs a roster of all hospitals' keys, and each hospital pins it. Keys are shown as words:
    each hospital reads out its own on the telephone, and everybody compares them before they pin.
    """


@roster.command()
@click.option("--to", type=_FILE, required=True, help="A file that is not there yet.")
@site_option
def key(to: Path, file: Path) -> None:
    """Write this hospital's public key to a file for the coordinator, and say its words."""
    from client_app.commands.custodian_of import custodian_of  # noqa: PLC0415
    from federation.record_files import write_record  # noqa: PLC0415

    if to.exists():
        raise ConfigError(f"--to {to} is there already; name another file")
    own = custodian_of(file).roster().own
    write_record(to, own)
    click.echo(f"{own.site}: {own.words}")
    click.echo(to)


@roster.command()
@click.argument("path", metavar="ROSTER", type=_FILE)
@by_option
@click.option("--yes", is_flag=True, help="Do not ask; the words were compared before.")
@site_option
def pin(path: Path, by: str, yes: bool, file: Path) -> None:
    """Show a roster and what has changed, and believe it from now on."""
    from client_app.commands.custodian_of import custodian_of  # noqa: PLC0415
    from client_app.desk.questions import PinRoster, question  # noqa: PLC0415
    from federation.roster_files import read_roster  # noqa: PLC0415
    from federation.roster_table import roster_table  # noqa: PLC0415

    asked = question(PinRoster, roster=read_roster(path), by=by)
    client = custodian_of(file)
    print_table(roster_table(asked.roster, client.roster(asked.roster).pinned))
    if not yes:
        click.confirm("Have you compared these words with those who own them?", abort=True)
    client.pin(asked)
    click.echo(f"pinned: roster version {asked.roster.version}")


@roster.command()
@site_option
def show(file: Path) -> None:
    """Say this hospital's own words, and which roster is pinned."""
    from client_app.commands.custodian_of import custodian_of  # noqa: PLC0415
    from federation.roster_table import roster_table  # noqa: PLC0415

    state = custodian_of(file).roster()
    click.echo(f"{state.own.site}: {state.own.words}")
    if state.pinned is None:
        click.echo(
            "no roster is pinned, so studies with secure sums are refused; wardround-site roster pin ROSTER"
        )
    else:
        print_table(roster_table(state.pinned))
