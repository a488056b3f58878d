"""``wardround-coordinator watch``: a researcher follows a run to its end."""

import sys

import click


@click.command()
@click.argument("run", type=int)
@click.option(
    "--through",
    metavar="ADDRESS:PORT",
    default="127.0.0.1:9093",
    show_default=True,
    help="Where this researcher's tunnel listens.",
)
@click.option(
    "--patience",
    type=click.FloatRange(min=0),
    default=600.0,
    show_default=True,
    help="Seconds for which nobody may answer before it is given up.",
)
def watch(run: int, through: str, patience: float) -> None:
    """Show how a run goes, from its beginning, until it is over; RUN is the number that flwr run prints.

    The exit code is 0 where it completed, 1 where it failed or was stopped, and 2 where nobody knows. A run
    that is over is shown too. Ctrl-C ends the watching and not the run.
    """
    from federation.errors import ConfigError  # noqa: PLC0415
    from federation.tunnel.address import address_of  # noqa: PLC0415
    from server_app.control import Control  # noqa: PLC0415
    from server_app.watch import Outcome  # noqa: PLC0415
    from server_app.watch import watch as follow  # noqa: PLC0415
    from server_app.watch_view import WatchView  # noqa: PLC0415

    try:
        where = str(address_of(through))
    except ConfigError as error:
        raise click.BadParameter(f"{through!r} is not ADDRESS:PORT", param_hint="--through") from error
    with Control(where) as control, WatchView(run) as view:
        try:
            outcome = follow(control, run, view, patience)
        except KeyboardInterrupt:
            outcome = Outcome("unknown", "no longer watched; the run goes on")
        view.ended(outcome)
    sys.exit(outcome.exit_code)
