"""``install``, as hospitals and researchers have it: a kit is shown, people compare words, it is in use."""

from pathlib import Path

import click

from federation.command_line import print_table

_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.argument("file", metavar="KIT", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--to", type=_FOLDER, required=True, help="The folder that init has made.")
@click.option("--yes", is_flag=True, help="Do not ask; the words were compared before.")
def install(file: Path, to: Path, yes: bool) -> None:
    """Show what the coordinator has sent, and use it from now on.

    Compare the words with those that the coordinator reads out on the telephone.
    """
    from federation.admission import read_kit  # noqa: PLC0415
    from federation.certificates import utc_now  # noqa: PLC0415
    from federation.enrolment import Enrolment  # noqa: PLC0415
    from federation.kit_table import kit_table  # noqa: PLC0415

    kit, enrolment = read_kit(file), Enrolment(to)
    enrolment.require_fitting(kit, utc_now())
    print_table(kit_table(kit))
    if not yes:
        click.confirm("Has the coordinator read out these words?", abort=True)
    enrolment.install(kit)
    click.echo(f"installed: {to}")
