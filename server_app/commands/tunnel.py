"""``wardround-coordinator tunnel``: a researcher's way to the coordinator."""

from pathlib import Path

import click

from federation.tunnel.options import connection_option, password_option, proxy_option


@click.command()
@connection_option
@click.option("--listen", metavar="ADDRESS:PORT", default="127.0.0.1:9093", show_default=True)
@proxy_option
@password_option
def tunnel(folder: Path, listen: str, proxy: str | None, password: Path | None) -> None:
    """Lend this researcher's certificate to the flwr command, which cannot present one.

    The connection's entry in flwr's config.toml then says address = "127.0.0.1:9093" and insecure = true: the
    plain part stays on this machine, and only programs of the same user are let in. It runs until SIGTERM and
    writes failures to stderr.
    """
    from federation.logs import log_lines  # noqa: PLC0415
    from federation.tunnel.forward import run  # noqa: PLC0415
    from federation.tunnel.gateways import proxy_from, researcher_tunnel  # noqa: PLC0415

    log_lines()
    run(researcher_tunnel(folder, listen, proxy_from(proxy, password)))
