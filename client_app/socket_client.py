"""The hospital's custodian as the relay reaches it: over a Unix socket."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from client_app.wire import from_bytes, operation_of, to_bytes
from federation.errors import MessageError, RunError
from federation.messages import Reply, Request

_CONNECT_SECONDS = 10.0
_PIECE = 256 * 1024  # bytes written at once; httpx would copy all that is left each time
_MOST_BYTES = 600 * 2**20


class SocketClient:
    """A custodian behind ``socket``; each request has a connection of its own.

    Args:
        socket: where the custodian listens.
        seconds: from a request to its whole answer.
        most_bytes: of an answer.
    """

    def __init__(self, socket: Path, seconds: float, most_bytes: int = _MOST_BYTES) -> None:
        self._socket = socket
        self._seconds = seconds
        self._most_bytes = most_bytes
        self._http = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(socket), limits=httpx.Limits(max_keepalive_connections=0)),
            base_url="http://custodian/v1/",
            timeout=httpx.Timeout(seconds, connect=_CONNECT_SECONDS),
            trust_env=False,
        )

    def handle(self, request: Request) -> Reply:
        """The custodian's answer to ``request``.

        Raises:
            RunError: no custodian is there, or it gave no answer in time.
            MessageError: what it answered is no reply.
        """
        try:
            reply = from_bytes(self._post(operation_of(type(request)), to_bytes(request)))
        except httpx.TimeoutException as error:
            raise RunError(f"{self._socket}: no answer within {self._seconds:g} s; see its log") from error
        except httpx.TransportError as error:
            raise RunError(
                f"no custodian answers at {self._socket} ({error}); start it, or correct custodian= in the "
                "node config"
            ) from error
        if not isinstance(reply, Reply):
            raise MessageError(f"{self._socket} answered with a {type(reply).__name__}, which is no reply")
        return reply

    def _post(self, path: str, body: bytes) -> bytearray:
        end = time.monotonic() + self._seconds
        headers = {"content-length": str(len(body)), "content-type": "application/octet-stream"}
        answer = bytearray()
        with self._http.stream("POST", path, content=_pieces(body), headers=headers) as response:
            for piece in response.iter_raw():
                answer += piece
                if len(answer) > self._most_bytes:
                    raise MessageError(f"{self._socket} answered with more than {self._most_bytes} bytes")
                if time.monotonic() > end:
                    raise httpx.ReadTimeout("the answer came too slowly")
        return answer


def _pieces(body: bytes) -> Iterator[bytes]:
    return (body[start : start + _PIECE] for start in range(0, len(body), _PIECE))
