"""HTTP/1.1 as strangers may speak it to a custodian: little before a request, and one a connection."""

import asyncio
from typing import ClassVar, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from client_app.custodian.web import refusal
from federation.errors import MessageError


class GuardedProtocol(H11Protocol):
    """uvicorn's protocol on h11, which bounds a request's head to 16 KiB, with what it leaves open closed.

    Attributes:
        most_connections: on one socket at once; more are closed, so that files are left for the ledger.
        head_seconds: until the head of a request has come.
        answer_seconds: until an answer has been taken; unread answers would fill the memory.
    """

    most_connections: ClassVar[int] = 64
    head_seconds: ClassVar[float] = 10.0
    answer_seconds: ClassVar[float] = 120.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or close it at once where there are too many."""
        super().connection_made(cast(asyncio.Transport, transport))
        self._patience = self.loop.call_later(self.head_seconds, self._without_request)
        if len(self.connections) > self.most_connections:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._patience.cancel()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP with a refusal like any other; in the middle of an answer, just close."""
        if self.conn.our_state is h11.IDLE or self.conn.our_state is h11.SEND_RESPONSE:
            answer = refusal(MessageError(msg))
            headers = [*answer.raw_headers, (b"connection", b"close")]
            for event in (
                h11.Response(status_code=answer.status_code, headers=headers),
                h11.Data(data=bytes(answer.body)),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
        self._wait_for_the_client()

    def on_response_complete(self) -> None:
        """Give the client a while to take the answer."""
        super().on_response_complete()
        self._wait_for_the_client()

    def _wait_for_the_client(self) -> None:
        self._patience.cancel()
        self._patience = self.loop.call_later(self.answer_seconds, self.transport.abort)

    def _without_request(self) -> None:
        if self.cycle is None:
            self.transport.abort()
