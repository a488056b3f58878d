"""``wardround-site custodian``: the process that holds data, keys and ledger."""

from pathlib import Path

import click

from client_app.commands.site_option import site_option


@click.command()
@site_option
def custodian(file: Path) -> None:
    """Serve this hospital: the coordinator's requests on one socket, its own people's on another.

    It runs until SIGTERM, answers what it is computing then, and writes its log to stderr. A folder has one
    custodian.
    """
    from client_app.site import hospital  # noqa: PLC0415
    from federation.logs import log_lines  # noqa: PLC0415

    log_lines(patients=True)

    config = hospital(file)
    # Torch and MONAI take seconds to load, so what is wrong with the config is said at once.
    from client_app.custodian.process import run_custodian  # noqa: PLC0415

    run_custodian(config)
