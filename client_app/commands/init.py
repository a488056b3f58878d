"""``wardround-site init``: the keys of this hospital's connection, and what the coordinator must know."""

from pathlib import Path

import click

from client_app.commands.site_option import site_option
from federation.errors import ConfigError


@click.command()
@click.option(
    "--to", type=click.Path(file_okay=False, path_type=Path), required=True, help="The connection's folder."
)
@click.option("--renew", is_flag=True, help="Ask for a new certificate; the one in use stays until it comes.")
@click.option("--force", is_flag=True, help="New keys, once the coordinator has revoked this name.")
@site_option
def init(to: Path, renew: bool, force: bool, file: Path) -> None:
    """Make the keys of this hospital's connection, and request.json for the coordinator.

    Nothing in the request is secret. Read out its words when the coordinator telephones. The custodian may be
    running; run this as its user.
    """
    from client_app.enrolment.site import SiteEnrolment  # noqa: PLC0415
    from client_app.site import hospital  # noqa: PLC0415

    if renew and force:
        raise ConfigError("--renew keeps the keys that --force replaces; give one of them")
    config, enrolment = hospital(file), SiteEnrolment(to)
    if renew:
        request = enrolment.renew(config.name, config.service.folder)
    else:
        request = enrolment.init(config.name, config.service.folder, force=force)
    click.echo(f"{request.name}: {request.words}")
    click.echo(enrolment.request)
