"""HTTP to a process of this machine, over its Unix socket."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from federation.errors import MessageError, RunError

_CONNECT_SECONDS = 10.0
_PIECE = 256 * 1024  # bytes written at once; httpx would copy all that is left each time


@dataclass(frozen=True)
class HttpAnswer:
    """What came back.

    Attributes:
        status: of HTTP.
        body: whole.
    """

    status: int
    body: bytearray


class UnixHttp:
    """Whoever listens at ``socket``; each request has a connection of its own.

    Args:
        socket: where they listen.
        seconds: from a request to its whole answer.
        most_bytes: of an answer.
        remedy: what to do where nobody answers.
    """

    def __init__(self, socket: Path, seconds: float, most_bytes: int, remedy: str) -> None:
        self._socket = socket
        self._seconds = seconds
        self._most_bytes = most_bytes
        self._remedy = remedy
        self._http = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(socket), limits=httpx.Limits(max_keepalive_connections=0)),
            base_url="http://custodian/v1/",
            timeout=httpx.Timeout(seconds, connect=_CONNECT_SECONDS),
            trust_env=False,
        )

    def post(self, path: str, body: bytes, media_type: str) -> HttpAnswer:
        """The answer to ``body``.

        Raises:
            RunError: nobody is there, or gave no answer in time.
            MessageError: the answer is too large.
        """
        try:
            return self._post(path, body, media_type)
        except httpx.TimeoutException as error:
            raise RunError(f"{self._socket}: no answer within {self._seconds:g} s; see its log") from error
        except httpx.TransportError as error:
            raise RunError(
                f"no custodian answers at {self._socket} ({error}); start it, or {self._remedy}"
            ) from error

    def _post(self, path: str, body: bytes, media_type: str) -> HttpAnswer:
        end = time.monotonic() + self._seconds
        headers = {"content-length": str(len(body)), "content-type": media_type}
        answer = bytearray()
        with self._http.stream("POST", path, content=_pieces(body), headers=headers) as response:
            for piece in response.iter_raw():
                answer += piece
                if len(answer) > self._most_bytes:
                    raise MessageError(f"{self._socket} answered with more than {self._most_bytes} bytes")
                if time.monotonic() > end:
                    raise httpx.ReadTimeout("the answer came too slowly")
            return HttpAnswer(response.status_code, answer)


def _pieces(body: bytes) -> Iterator[bytes]:
    return (body[start : start + _PIECE] for start in range(0, len(body), _PIECE))
