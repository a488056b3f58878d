"""A forward that proves who it is, and whom it carries to."""

import asyncio
import ipaddress
import os
import socket

from federation.errors import ConfigError, RunError
from federation.tunnel.address import Address
from federation.tunnel.certificates import Renewed
from federation.tunnel.ends import End, PlainEnd, TlsEnd
from federation.tunnel.failures import Failures
from federation.tunnel.forward import Forward
from federation.tunnel.peer_user import check_users_are_told, peer_user
from federation.tunnel.way_out import Proxy

_HELLO_SECONDS = 10.0


class Tunnel(Forward):
    """See ``Forward``.

    Args:
        listen: where connections are accepted; without ``inside``, this machine's own address.
        to: the coordinator's gateway.
        outside: TLS towards it.
        inside: TLS towards whoever connects. None: without, and only this process's own user is let in.
        proxy: the way out, where there is no other.
        failures: where failures are told.
    """

    def __init__(
        self,
        listen: Address,
        to: Address,
        outside: Renewed,
        *,
        inside: Renewed | None,
        proxy: Proxy | None = None,
        failures: Failures,
    ) -> None:
        if inside is None:
            if not ipaddress.ip_address(listen.host).is_loopback:
                raise ConfigError(f"--listen {listen} is not this machine's own address; take 127.0.0.1")
            check_users_are_told()
        super().__init__(listen, to, proxy=proxy, failures=failures)
        self._outside = outside
        self._inside = inside

    async def _near(self, accepted: socket.socket) -> End:
        if self._inside is None:
            user = peer_user(accepted.getpeername()[:2], accepted.getsockname()[:2])
            if user != os.geteuid():
                raise RunError(f"refused a connection of user {'unknown' if user is None else user}")
            return PlainEnd(accepted)
        end = TlsEnd(accepted, self._inside.now(), name=None, whole=False, who="a SuperNode")
        try:
            async with asyncio.timeout(_HELLO_SECONDS):
                await end.shake_hands()
        except TimeoutError:
            raise RunError(f"a SuperNode did not begin TLS within {_HELLO_SECONDS:g} s") from None
        return end

    async def _far(self, connected: socket.socket) -> End:
        end = TlsEnd(connected, self._outside.now(), name=self._to.host, whole=True, who=str(self._to))
        await end.shake_hands()
        return end
