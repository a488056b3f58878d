"""``wardround-site``: what whoever is responsible at a hospital does there; wiring only."""

import click

from client_app.commands.audit import audit
from client_app.commands.consent import consent
from client_app.commands.custodian import custodian
from client_app.commands.deidentify import deidentify
from client_app.commands.doctor import doctor
from client_app.commands.gateway import gateway
from client_app.commands.ingest import ingest
from client_app.commands.init import init
from client_app.commands.install import install
from client_app.commands.ledger import ledger
from client_app.commands.load import load
from client_app.commands.roster import roster
from client_app.commands.study import study
from client_app.commands.supernode import launcher, supernode
from federation.command_line import run


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """A hospital's own view of studies and of what they do with its patients."""


for group in (
    *(audit, consent, ledger, roster, study),
    *(init, install, doctor, load),
    *(ingest, deidentify),
    *(custodian, launcher, supernode, gateway),
):
    commands.add_command(group)


def main() -> None:
    """Run the command line."""
    run(commands)


if __name__ == "__main__":
    main()
