"""``wardround-site supernode`` and ``launcher``: Flower's node, and what answers its messages."""

import signal
from pathlib import Path

import click

from federation.tunnel.options import connection_option

# The longest that one message may take: a little more than the relay waits for the custodian.
_SECONDS = 4100.0

_runtime_option = click.option(
    "--runtime",
    default="127.0.0.1:9094",
    show_default=True,
    help="Where the SuperNode hands out messages to the launcher.",
)


@click.command()
@connection_option
@click.option("--gateway", required=True, help="HOST:PORT of this hospital's gateway.")
@click.option(
    "--custodian", type=click.Path(path_type=Path), required=True, help="The custodian's relay socket."
)
@_runtime_option
def supernode(folder: Path, gateway: str, custodian: Path, runtime: str) -> None:
    """Ask the coordinator for messages, through this hospital's gateway, and hand them to the launcher."""
    from federation.flower_programs import quiet_flower  # noqa: PLC0415

    quiet_flower()
    from federation.flower_supernode import run_supernode  # noqa: PLC0415
    from federation.logs import log_lines  # noqa: PLC0415

    log_lines()
    host, _, port = runtime.rpartition(":")
    run_supernode(
        superlink=gateway,
        root_certificates=folder / "inside.crt",
        auth_supernode_private_key=folder / "node.key",
        isolation="process",
        superexec_auth_secret_file=folder / "launcher.secret",
        host=host,
        port=port,
        node_config=f'custodian="{custodian}"',
    )


@click.command()
@connection_option
@_runtime_option
def launcher(folder: Path, runtime: str) -> None:
    """Answer the SuperNode's messages by this release, whatever code a researcher has sent.

    Each is answered in a process of its own, which is killed where it takes longer than the custodian may.
    """
    from federation.flower_programs import quiet_flower  # noqa: PLC0415

    quiet_flower()
    from client_app.app import app  # noqa: PLC0415
    from federation.flower_runtime import Tasks, answer_message  # noqa: PLC0415
    from federation.launcher import run_launcher  # noqa: PLC0415
    from federation.logs import log_lines  # noqa: PLC0415

    log_lines()
    tasks = Tasks(runtime, folder / "launcher.secret", server=False)
    run_launcher(
        tasks,
        lambda task: answer_message(tasks, task, app),
        seconds=_SECONDS,
        ending=signal.SIGKILL,
    )
