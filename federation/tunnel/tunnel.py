"""Accept connections and carry each to the one address."""

import asyncio
import errno
import ipaddress
import os
import signal
import socket
import ssl
from collections.abc import Callable
from contextlib import ExitStack, suppress

from federation.errors import ConfigError, RunError
from federation.tunnel.address import Address
from federation.tunnel.certificates import Renewed
from federation.tunnel.ends import End, PlainEnd, TlsEnd, cut
from federation.tunnel.failures import Failures
from federation.tunnel.peer_user import check_users_are_told, peer_user
from federation.tunnel.way_out import Proxy, dial, tune

_MOST = 400  # connections at once: two files each, of the 1024 that a process may have
_HELLO_SECONDS = 10.0
_CONNECT_SECONDS = 15.0
_PAUSE_SECONDS = 1.0
_FULL = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Tunnel:
    """One listening socket and one address that everything goes to.

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
        self._listen = listen
        self.to = to
        self._outside = outside
        self._inside = inside
        self._proxy = proxy
        self._failures = failures
        self._room = asyncio.Semaphore(_MOST)

    async def serve(self, ready: Callable[[Address], None] = lambda _: None) -> None:
        """Carry connections until SIGTERM or SIGINT, which ends those under way too.

        Raises:
            ConfigError: the address is not free.
        """
        with self._listening() as listening:
            serving = asyncio.ensure_future(self._accept(listening))
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, serving.cancel)
            ready(Address(*listening.getsockname()[:2]))
            with suppress(asyncio.CancelledError):
                await serving

    def _listening(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._listen.host else socket.AF_INET
        try:
            listening = socket.create_server(
                (self._listen.host, self._listen.port), family=family, backlog=128
            )
        except OSError as error:
            raise ConfigError(
                f"--listen {self._listen} cannot be had ({os.strerror(error.errno or 0)}); name another"
            ) from error
        listening.setblocking(False)
        return listening

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as carried:
            while True:
                await self._room.acquire()
                try:
                    accepted, _ = await loop.sock_accept(listening)
                except OSError as error:
                    self._room.release()
                    if error.errno in _FULL:
                        self._failures.tell("full", f"no connection can be accepted ({error.strerror})")
                        await asyncio.sleep(_PAUSE_SECONDS)
                    continue
                carried.create_task(self._carry(accepted)).add_done_callback(lambda _: self._room.release())

    async def _carry(self, accepted: socket.socket) -> None:
        """Carry one connection to its end; whatever goes wrong ends this one alone."""
        with ExitStack() as opened:
            opened.callback(accepted.close)
            try:
                near = await self._near(accepted)
                far = await self._far(opened)
                opened.callback(cut, accepted)
                await _both_ways(near, far)
                accepted.close()
            except RunError as error:
                self._failures.tell(_kind(error), str(error))
            except OSError:
                pass  # one of the two has gone, which both may at any time
            except Exception as error:
                self._failures.tell("fault", f"a connection was given up ({type(error).__name__}: {error})")

    async def _near(self, accepted: socket.socket) -> End:
        accepted.setblocking(False)
        tune(accepted)
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

    async def _far(self, opened: ExitStack) -> End:
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                connected = await dial(self.to, self._proxy)
                opened.callback(connected.close)
                end = TlsEnd(connected, self._outside.now(), name=self.to.host, whole=True, who=str(self.to))
                await end.shake_hands()
        except TimeoutError:
            raise RunError(f"{self.to} did not answer within {_CONNECT_SECONDS:g} s") from None
        return end


async def _both_ways(near: End, far: End) -> None:
    try:
        async with asyncio.TaskGroup() as directions:
            directions.create_task(_one_way(near, far))
            directions.create_task(_one_way(far, near))
    except* (RunError, OSError, ssl.SSLError) as group:
        first = group.exceptions[0]
    else:
        return
    raise first


async def _one_way(source: End, sink: End) -> None:
    while data := await source.receive():
        await sink.send(data)
    await sink.finish()


def _kind(error: RunError) -> str:
    """Failures that differ by numbers alone, as those of users, are of one kind."""
    return "".join(letter for letter in str(error) if not letter.isdigit())
