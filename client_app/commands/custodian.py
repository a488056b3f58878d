"""``wardround-site custodian``: the process that holds data, keys and ledger."""

import logging
import sys
from pathlib import Path

import click

from client_app.commands.site_option import site_option


class OneLine(logging.Formatter):
    """Every record is one line, tracebacks too, so that nothing in a message can pass for a record."""

    def format(self, record: logging.LogRecord) -> str:
        """The record, with the ends of lines written out."""
        return super().format(record).replace("\r", "\\r").replace("\n", "\\n")


@click.command()
@site_option
def custodian(file: Path) -> None:
    """Serve this hospital: the coordinator's requests on one socket, its own people's on another.

    It runs until SIGTERM, answers what it is computing then, and writes its log to stderr. A folder has one
    custodian.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.captureWarnings(True)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    from client_app.site import hospital  # noqa: PLC0415

    config = hospital(file)
    # Torch and MONAI take seconds to load, so what is wrong with the config is said at once.
    from client_app.custodian.process import run_custodian  # noqa: PLC0415

    run_custodian(config)
