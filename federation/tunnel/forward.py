"""Accept connections and carry each to the one address."""

import asyncio
import errno
import logging
import os
import signal
import socket
import ssl
from contextlib import ExitStack, suppress

from federation.errors import ConfigError, RunError
from federation.tunnel.address import Address
from federation.tunnel.ends import End, PlainEnd, cut
from federation.tunnel.failures import Failures
from federation.tunnel.way_out import Proxy, dial, tune

_MOST = 400  # connections at once: two files each, of the 1024 that a process may have
_CONNECT_SECONDS = 15.0
_PAUSE_SECONDS = 1.0
_FULL = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

_log = logging.getLogger("tunnel")


class Forward:
    """One listening socket and one address that everything goes to, as it is.

    Args:
        listen: where connections are accepted.
        to: where they go; its name is looked up for each.
        proxy: the way out, where there is no other.
        failures: where failures are told.
    """

    def __init__(
        self, listen: Address, to: Address, *, proxy: Proxy | None = None, failures: Failures | None = None
    ) -> None:
        self._listen = listen
        self._to = to
        self._proxy = proxy
        self._failures = failures or Failures()
        self._room = asyncio.Semaphore(_MOST)

    async def serve(self) -> None:
        """Carry connections until it is cancelled, which ends those under way too.

        Raises:
            ConfigError: the address is not free.
        """
        with self._listening() as listening:
            _log.info("%s leads to %s", Address(*listening.getsockname()[:2]), self._to)
            await self._accept(listening)

    def _listening(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._listen.host else socket.AF_INET
        try:
            listening = socket.create_server(
                (self._listen.host, self._listen.port), family=family, backlog=128
            )
        except OSError as error:
            raise ConfigError(
                f"{self._listen} cannot be had ({os.strerror(error.errno or 0)}); listen at another address"
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
                accepted.setblocking(False)
                tune(accepted)
                near = await self._near(accepted)
                far = await self._dialled(opened)
                opened.callback(cut, accepted)
                await _both_ways(near, far)
                accepted.close()
            except RunError as error:
                self._failures.tell(_kind(error), str(error))
            except OSError:
                pass  # one of the two has gone, which both may at any time
            except Exception as error:
                self._failures.tell("fault", f"a connection was given up ({type(error).__name__}: {error})")

    async def _dialled(self, opened: ExitStack) -> End:
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                connected = await dial(self._to, self._proxy)
                opened.callback(connected.close)
                return await self._far(connected)
        except TimeoutError:
            raise RunError(f"{self._to} did not answer within {_CONNECT_SECONDS:g} s") from None

    async def _near(self, accepted: socket.socket) -> End:
        """The end towards whoever connects."""
        return PlainEnd(accepted)

    async def _far(self, connected: socket.socket) -> End:
        """The end towards the one address."""
        return PlainEnd(connected)


def run(*forwards: Forward) -> None:
    """Carry until SIGTERM or SIGINT; the log has a line a failure and nothing of what is carried.

    Raises:
        ConfigError: an address is not free.
    """
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    asyncio.run(_until_told(forwards))


async def _until_told(forwards: tuple[Forward, ...]) -> None:
    serving = asyncio.gather(*(forward.serve() for forward in forwards))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    with suppress(asyncio.CancelledError):
        await serving


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
