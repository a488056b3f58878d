"""The hospital's custodian as the relay reaches it: over a Unix socket."""

from pathlib import Path

from client_app.unix_http import UnixHttp
from client_app.wire import from_bytes, operation_of, to_bytes
from federation.errors import MessageError
from federation.messages import Reply, Request

_MOST_BYTES = 600 * 2**20


class SocketClient:
    """A custodian behind ``socket``.

    Args:
        socket: where the custodian listens.
        seconds: from a request to its whole answer.
        most_bytes: of an answer.
    """

    def __init__(self, socket: Path, seconds: float, most_bytes: int = _MOST_BYTES) -> None:
        self._socket = socket
        self._http = UnixHttp(socket, seconds, most_bytes, "correct custodian= in the node config")

    def handle(self, request: Request) -> Reply:
        """The custodian's answer to ``request``.

        Raises:
            RunError: no custodian is there, or it gave no answer in time.
            MessageError: what it answered is no reply.
        """
        answer = self._http.post(
            operation_of(type(request)), to_bytes(request), media_type="application/octet-stream"
        )
        reply = from_bytes(answer.body)
        if not isinstance(reply, Reply):
            raise MessageError(f"{self._socket} answered with a {type(reply).__name__}, which is no reply")
        return reply
