"""``wardround-coordinator``: what whoever runs studies does with hospitals and models; wiring only."""

import click

from federation.command_line import run
from server_app.commands.admission import admit, members, provision, revoke, sync
from server_app.commands.audit import audit
from server_app.commands.model import model
from server_app.commands.predict import predict
from server_app.commands.researcher import researcher
from server_app.commands.roster import roster
from server_app.commands.superlink import launcher, superlink
from server_app.commands.tunnel import tunnel
from server_app.commands.watch import watch


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """Members of a federation, models that studies have made, hospitals' audit logs, and the roster.

    VERSION is a model's version or its beginning, or "latest" for what the last run released.
    """


for command in (
    *(audit, model, predict, roster),
    *(provision, admit, revoke, members, sync),
    *(superlink, launcher),
    *(researcher, tunnel, watch),
):
    commands.add_command(command)


def main() -> None:
    """Run the command line."""
    run(commands)


if __name__ == "__main__":
    main()
