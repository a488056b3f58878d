"""The two ends of a carried connection, with and without TLS.

Sockets are read and written without buffers of their own: of each direction one piece is in memory, and who
sends faster than the other end takes waits. asyncio's own TLS could not close one direction alone.
"""

import asyncio
import socket
import ssl
import struct
from contextlib import suppress
from typing import Protocol

from federation.errors import RunError

PIECE = 128 * 1024  # bytes
_RECORD = 16 * 1024  # the most bytes in one record of TLS


class End(Protocol):
    """One end of a carried connection."""

    async def receive(self) -> bytes:
        """What came; empty once the other side will send no more."""
        ...

    async def send(self, data: bytes) -> None:
        """Pass ``data`` on; returns when the operating system has it."""
        ...

    async def finish(self) -> None:
        """Say that no more will be sent."""
        ...


class PlainEnd:
    """A connected socket as it is."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    async def receive(self) -> bytes:
        """See ``End``."""
        return await asyncio.get_running_loop().sock_recv(self._socket, PIECE)

    async def send(self, data: bytes) -> None:
        """See ``End``."""
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def finish(self) -> None:
        """See ``End``."""
        self._socket.shutdown(socket.SHUT_WR)


class TlsEnd:
    """A connected socket inside TLS; each direction is closed by itself, as TLS 1.3 allows.

    Args:
        connected: the socket, not blocking.
        context: what is shown, and who is believed.
        name: which name the other side must prove; None where this side is the server.
        whole: refuse an end that TLS did not announce, since the network may have cut what came before it.
        who: what to call the other side in an error.
    """

    def __init__(
        self, connected: socket.socket, context: ssl.SSLContext, *, name: str | None, whole: bool, who: str
    ) -> None:
        self._socket = connected
        self._whole = whole
        self._who = who
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=name is None, server_hostname=name
        )
        self._kept = b""
        self._finished = False
        self._sending = asyncio.Lock()

    async def shake_hands(self) -> None:
        """Agree on keys, and be sure of the other side.

        Raises:
            RunError: it is not who it should be, or it believes this side as little.
            ConnectionResetError: it only looked whether this side listens, as health checks do.
        """
        began = not self._tls.server_side
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                if not await self._fill():
                    if not began:
                        raise ConnectionResetError from None
                    raise RunError(f"{self._who} ended the connection before TLS began") from None
                began = True
            except ssl.SSLError as error:
                await self._flush()  # the alert that says why
                raise RunError(f"{self._who}: {_reason(error)}") from error
            else:
                return await self._flush()

    async def receive(self) -> bytes:
        """See ``End``.

        Raises:
            RunError: what came is not whole, or the other side refuses this side's certificate.
            ConnectionResetError: what came may not be whole, and this side has ended before.
        """
        if self._kept:
            kept, self._kept = self._kept, b""
            return kept
        while True:
            try:
                if (data := self._decrypted()) is not None:
                    return data
            except ssl.SSLError as error:
                raise RunError(f"{self._who}: {_reason(error)}") from error
            # An answer to a change of keys; whoever is sending just now takes it along.
            if self._outgoing.pending and not self._sending.locked():
                await self._flush()
            if not await self._fill():
                if self._whole and self._finished:
                    # So nginx ends what this side has ended: nothing to tell, and still no clean end.
                    raise ConnectionResetError
                if self._whole:
                    raise RunError(f"{self._who} was cut off in the middle of TLS")
                return b""

    async def send(self, data: bytes) -> None:
        """See ``End``."""
        self._tls.write(data)
        await self._flush()

    async def finish(self) -> None:
        """See ``End``."""
        # OpenSSL then looks for the other side's end, and would take data that still lie there for a fault.
        self._kept += self._decrypted() or b""
        self._finished = True
        with suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        await self._flush()

    def _decrypted(self) -> bytes | None:
        """All that came, empty at the end; None where nothing came."""
        pieces: list[bytes] = []
        while True:
            try:
                piece = self._tls.read(_RECORD)
            except ssl.SSLWantReadError:
                return b"".join(pieces) or None
            except ssl.SSLZeroReturnError:
                piece = b""
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)

    async def _fill(self) -> bool:
        """Take what came; False at the end of the connection."""
        came = await asyncio.get_running_loop().sock_recv(self._socket, PIECE)
        self._incoming.write(came)
        return bool(came)

    async def _flush(self) -> None:
        async with self._sending:
            if self._outgoing.pending:
                await asyncio.get_running_loop().sock_sendall(self._socket, self._outgoing.read())


def cut(connected: socket.socket) -> None:
    """Close a socket so that its other side sees a broken connection, not the end of what was sent."""
    with suppress(OSError):
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connected.close()


def _reason(error: ssl.SSLError) -> str:
    """What OpenSSL says, in its own words, without the line of its source."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not believed ({error.verify_message.rstrip('.')})"
    return f"TLS failed ({(error.reason or 'unknown reason').lower().replace('_', ' ')})"
