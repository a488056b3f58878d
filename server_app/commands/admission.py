"""``wardround-coordinator provision``, ``admit``, ``revoke``, ``sync`` and ``members``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from federation.command_line import print_table
from federation.errors import RunError

# Flower takes a second to load, so each command loads what it needs and help is there at once.
if TYPE_CHECKING:
    from server_app.admission.folder import Folder
    from server_app.admission.sync import Synced

_RELOAD = (
    "now reload the gateway: nginx reads its lists when it starts and when it is told to (nginx -s reload)"
)

_FILE = click.Path(dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)
folder_option = click.option(
    "--folder",
    "path",
    type=_FOLDER,
    envvar="WARDROUND_COORDINATOR",
    show_envvar=True,
    required=True,
    help="The coordinator's folder; WARDROUND_COORDINATOR in the environment says it for all commands.",
)


@click.command()
@click.argument("file", metavar="FEDERATION.YAML", type=_FILE)
@click.option("--to", type=_FOLDER, required=True, help="A folder that is not there yet.")
@click.option("--force", is_flag=True, help="Move a folder that is there aside, and begin anew.")
def provision(file: Path, to: Path, force: bool) -> None:
    """Make the coordinator's folder: authorities, the gateway's and the administrator's certificates.

    FEDERATION.YAML has name and address, and may have sites_port, control_port, superlink, resolver, run and
    days.
    """
    from federation.certificates import utc_now  # noqa: PLC0415
    from server_app.admission.folder import provision as provision_folder  # noqa: PLC0415

    click.echo(provision_folder(file, to, utc_now(), force=force).path)


@click.command()
@click.argument("file", metavar="REQUEST", type=_FILE)
@click.option("--to", type=_FILE, help="The kit's file; left out, NAME.kit.json here. It is replaced.")
@click.option("--yes", is_flag=True, help="Do not ask; the words were compared before.")
@folder_option
def admit(file: Path, to: Path | None, yes: bool, path: Path) -> None:
    """Make a hospital or a researcher a member, or renew its certificate, and write its kit.

    Telephone first: they read out the words of their request. Then read out those of the kit to them.
    """
    from federation.admission import read_request  # noqa: PLC0415
    from federation.certificates import utc_now  # noqa: PLC0415
    from federation.record_files import write_record  # noqa: PLC0415
    from server_app.admission.folder import Folder  # noqa: PLC0415
    from server_app.admission.members import admit as admit_member  # noqa: PLC0415
    from server_app.admission.members import considered  # noqa: PLC0415
    from server_app.admission.table import request_table  # noqa: PLC0415

    request, folder = read_request(file), Folder(path)
    folder.require()
    admission = considered(folder.book, request, utc_now())
    print_table(request_table(request, admission))
    if not yes:
        click.confirm(f"Has {request.name} read out these words?", abort=True)
    kit = admit_member(folder, request, utc_now())
    to = to or Path(f"{request.name}.kit.json")
    write_record(to, kit)
    click.echo(f"kit: {kit.words}")
    click.echo(to)
    if request.kind == "site":
        _tell(folder)


@click.command()
@click.argument("name")
@click.option("--why", required=True, help="The book keeps it.")
@folder_option
def revoke(name: str, why: str, path: Path) -> None:
    """Put a member out, with all of its certificates; the others notice nothing."""
    from federation.certificates import utc_now  # noqa: PLC0415
    from server_app.admission.folder import Folder  # noqa: PLC0415
    from server_app.admission.members import revoke as revoke_member  # noqa: PLC0415

    folder = Folder(path)
    revoke_member(folder, name, why, utc_now())
    click.echo(f"revoked: {name}")
    _tell(folder)


@click.command()
@folder_option
def sync(path: Path) -> None:
    """Bring gateway and SuperLink to what the book says, and renew the coordinator's own certificates.

    Said twice, it changes nothing; once a month keeps the certificates from expiring.
    """
    from federation.certificates import utc_now  # noqa: PLC0415
    from server_app.admission.folder import Folder  # noqa: PLC0415
    from server_app.admission.sync import sync_superlink  # noqa: PLC0415

    folder = Folder(path)
    with folder.changing():
        folder.refresh(utc_now())
    click.echo(_RELOAD, err=True)
    if not _say(sync_superlink(folder)):
        sys.exit(1)


@click.command()
@folder_option
def members(path: Path) -> None:
    """Everybody who was admitted, until when, and who was revoked and why."""
    from federation.certificates import utc_now  # noqa: PLC0415
    from server_app.admission.folder import Folder  # noqa: PLC0415
    from server_app.admission.table import member_table  # noqa: PLC0415

    folder = Folder(path)
    folder.require()
    print_table(member_table(folder, utc_now()))


def _tell(folder: "Folder") -> None:
    """The SuperLink may be down, or not be there yet: what is in the book can be told later."""
    from server_app.admission.sync import sync_superlink  # noqa: PLC0415

    click.echo(_RELOAD, err=True)
    try:
        synced = sync_superlink(folder)
    except RunError as error:
        click.echo(f"{error}; the book has it, and once the SuperLink runs, run", err=True)
        click.echo(f"  wardround-coordinator sync --folder {folder.path}", err=True)
    else:
        _say(synced)


def _say(synced: "Synced") -> bool:
    """Whether nothing is left to do."""
    from server_app.admission.superlink_client import USED_KEY  # noqa: PLC0415

    for name in synced.registered:
        click.echo(f"the SuperLink knows now: {name}")
    if synced.unregistered:
        click.echo(f"the SuperLink takes no more: {synced.unregistered}")
    for name in synced.refused:
        click.echo(f"the SuperLink refuses {name}. {USED_KEY}", err=True)
    return not synced.refused
