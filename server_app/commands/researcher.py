"""``wardround-coordinator researcher``: how somebody who runs studies becomes a member, on their machine."""

from pathlib import Path

import click

from federation.install_command import install


@click.group()
def researcher() -> None:
    """The certificate with which a researcher reaches the coordinator."""


@researcher.command()
@click.option("--name", required=True, help="Yours, in small letters: dr_frei.")
@click.option(
    "--to", type=click.Path(file_okay=False, path_type=Path), required=True, help="The connection's folder."
)
@click.option("--force", is_flag=True, help="A new key, once the coordinator has revoked this name.")
def init(name: str, to: Path, force: bool) -> None:
    """Make a key, and request.json for the coordinator; near its certificate's end send that again.

    Nothing in the request is secret. Read out its words when the coordinator telephones.
    """
    from pydantic import TypeAdapter  # noqa: PLC0415

    from federation.enrolment import Enrolment  # noqa: PLC0415
    from federation.errors import ConfigError  # noqa: PLC0415
    from federation.study import Name  # noqa: PLC0415

    try:
        TypeAdapter(Name).validate_python(name)
    except ValueError as error:
        raise ConfigError(f"--name {name!r} is none; small letters, digits and _, a letter first") from error
    enrolment = Enrolment(to)
    if not force:
        enrolment.require_none()
    click.echo(f"{name}: {enrolment.ask(name).words}")
    click.echo(enrolment.request)


researcher.add_command(install)
