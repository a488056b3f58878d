"""``python -P -m client_app.forward ADDRESS HOST PORT[,PORT...]``: from ADDRESS to HOST, port by port.

It is the way out of containers whose network leads nowhere else. What is carried is not read: TLS is between
its two ends.
"""

import asyncio
import logging
import os
import sys
from asyncio import StreamReader, StreamWriter
from contextlib import closing

from federation.errors import ConfigError, RunError, WardroundError
from federation.logs import log_lines
from federation.tunnel.address import Address, address_of
from federation.tunnel.failures import Failures
from federation.tunnel.way_out import dial

_CONNECT_SECONDS = 15.0
_PIECE = 128 * 1024  # bytes

_log = logging.getLogger("tunnel")


class Forward:
    """One listening socket and one address that everything goes to.

    Args:
        listen: where connections are accepted.
        to: where they go; its name is looked up for each.
    """

    def __init__(self, listen: Address, to: Address) -> None:
        self._listen, self._to = listen, to
        self._failures = Failures()

    async def serve(self) -> None:
        """Carry connections until it is cancelled.

        Raises:
            ConfigError: the address is not free.
        """
        try:
            server = await asyncio.start_server(self._carry, self._listen.host, self._listen.port)
        except OSError as error:
            raise ConfigError(
                f"{self._listen} cannot be had ({os.strerror(error.errno or 0)}); name another"
            ) from error
        async with server:
            _log.info("%s leads to %s", self._listen, self._to)
            await server.serve_forever()

    async def _carry(self, asked: StreamReader, answering: StreamWriter) -> None:
        """Carry one connection to its end; whatever goes wrong ends this one alone."""
        with closing(answering):
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    connected = await dial(self._to, None)
            except RunError as error:
                self._failures.tell("unreachable", str(error))
                return
            except TimeoutError:
                self._failures.tell("silent", f"{self._to} did not answer within {_CONNECT_SECONDS:g} s")
                return
            answered, asking = await asyncio.open_connection(sock=connected)
            with closing(asking):
                try:
                    async with asyncio.TaskGroup() as directions:
                        directions.create_task(_one_way(asked, asking))
                        directions.create_task(_one_way(answered, answering))
                except* OSError:
                    pass  # one of the two has gone, which both may at any time


async def _one_way(source: StreamReader, sink: StreamWriter) -> None:
    while data := await source.read(_PIECE):
        sink.write(data)
        await sink.drain()
    sink.write_eof()


async def _forward(address: str, host: str, ports: str) -> None:
    pairs = [(address_of(f"{address}:{port}"), Address(host, int(port))) for port in ports.split(",")]
    await asyncio.gather(*(Forward(listen, to).serve() for listen, to in pairs))


if __name__ == "__main__":
    log_lines()
    try:
        asyncio.run(_forward(*sys.argv[1:]))
    except WardroundError as error:
        sys.exit(str(error))
