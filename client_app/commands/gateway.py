"""``wardround-site gateway``: a hospital's one way out."""

from pathlib import Path

import click

from federation.tunnel.options import connection_option, password_option, proxy_option


@click.command()
@connection_option
@click.option("--listen", metavar="ADDRESS:PORT", default="0.0.0.0:9443", show_default=True)
@proxy_option
@password_option
def gateway(folder: Path, listen: str, proxy: str | None, password: Path | None) -> None:
    """Carry what the SuperNode says to the coordinator, and to nobody else.

    The SuperNode connects by TLS and finds inside.crt; the coordinator must prove its address by
    coordinator.crt, and is shown client.crt. All of them are read anew for each connection. It runs until
    SIGTERM and writes failures to stderr.
    """
    from federation.logs import log_lines  # noqa: PLC0415
    from federation.tunnel.forward import run  # noqa: PLC0415
    from federation.tunnel.gateways import proxy_from, site_gateway  # noqa: PLC0415

    log_lines()
    run(site_gateway(folder, listen, proxy_from(proxy, password)))
