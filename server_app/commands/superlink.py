"""``wardround-coordinator superlink`` and ``launcher``: Flower's link, and what carries out its runs."""

import signal
from pathlib import Path

import click

from server_app.commands.admission import folder_option

_runtime_option = click.option(
    "--runtime", default="127.0.0.1:8000", show_default=True, help="HOST:PORT of the SuperLink."
)


@click.command()
@folder_option
@click.option("--database", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Its state.")
@click.option("--listen", default="127.0.0.1:8000", show_default=True, help="Where the gateway finds it.")
def superlink(path: Path, database: Path, listen: str) -> None:
    """Carry messages between runs and hospitals.

    It becomes Flower's SuperLink, whose own port is open to whoever reaches it: the gateway, and nobody else.
    """
    from federation.flower_programs import quiet_flower  # noqa: PLC0415

    quiet_flower()
    from federation.flower_superlink import run_superlink  # noqa: PLC0415
    from federation.logs import log_lines  # noqa: PLC0415

    log_lines()
    folder = path / "superlink"
    host, _, port = listen.rpartition(":")
    run_superlink(
        "--enable-supernode-auth",
        "--disable-runtime-dependency-installation",
        isolation="process",
        superexec_auth_secret_file=folder / "launcher.secret",
        ssl_certfile=folder / "inside.crt",
        ssl_keyfile=folder / "inside.key",
        ssl_ca_certfile=folder / "inside.crt",
        database=database,
        host=host,
        port=port,
    )


@click.command()
@folder_option
@_runtime_option
def launcher(path: Path, runtime: str) -> None:
    """Carry out the runs that researchers ask for, by this release: their configuration, not their code."""
    from federation.flower_programs import quiet_flower  # noqa: PLC0415

    quiet_flower()
    from federation.flower_runtime import Tasks, carry_out_run  # noqa: PLC0415
    from federation.launcher import run_launcher  # noqa: PLC0415
    from federation.logs import log_lines  # noqa: PLC0415
    from server_app.deployed import Coordinator  # noqa: PLC0415

    log_lines()
    folder = path / "superlink"
    tasks = Tasks(runtime, folder / "launcher.secret", server=True, certificate=folder / "inside.crt")
    carry_out = Coordinator(path).carry_out
    run_launcher(
        tasks,
        lambda task: carry_out_run(tasks, task, carry_out),
        seconds=None,
        ending=signal.SIGTERM,
    )
