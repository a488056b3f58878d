"""HTTP with an archive: TLS by the hospital's authority, bounded answers, and what went wrong with one."""

import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

from requests import PreparedRequest, RequestException, Response, Session
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from urllib3.exceptions import HTTPError

from client_app.data.pacs.dropped import DroppedError
from client_app.data.pacs.settings import DicomwebSettings
from client_app.data.patience import retry_after
from federation.errors import ConfigError, RunError
from federation.key_files import read_password

_BUSY = (408, 429, 500, 502, 503, 504)
_LONGEST_PAUSE = 60.0  # seconds that the archive may have us wait, however long it says
_KINDS = {
    "ConnectionError": "no connection",
    "ConnectTimeout": "no connection",
    "ReadTimeout": "no answer",
    "ReadTimeoutError": "no answer",
}
_LONGEST_ANSWER = 64 << 20  # bytes, of one that is read at once
CHUNK = 1 << 18

Value = TypeVar("Value")


def session(settings: DicomwebSettings) -> Session:
    """A session that asks nobody but the archive, and each time once.

    Raises:
        ConfigError: a file for TLS is not there, or the credentials are none.
        DataError: the credentials' file cannot be read, or can by others.
    """
    made = Session()
    # Neither proxies nor passwords from the environment, and nowhere but to the archive itself.
    made.trust_env, made.max_redirects = False, 0
    tls = settings.tls
    for file in (tls.authority, tls.certificate, tls.key):
        if file and not file.is_file():
            raise ConfigError(f"{file} is not a file; see pacs.tls")
    if tls.authority:
        made.verify = str(tls.authority)
    if tls.certificate and tls.key:
        made.cert = (str(tls.certificate), str(tls.key))
    if settings.credentials:
        _identify(made, settings.credentials)
    made.headers["Accept-Encoding"] = "identity"
    for scheme in ("https://", "http://"):
        made.mount(scheme, _Bounded(settings.instance_seconds))
    return made


def attempt(do: Callable[..., Value], *arguments: Any, **named: Any) -> Value:
    """What ``do`` returns; what goes wrong is told without the URL, which says who was asked for.

    Raises:
        DroppedError: the connection failed, or the archive is busy.
        RunError: the archive says no.
    """
    status, wait = None, None
    try:
        return do(*arguments, **named)
    except (RequestException, HTTPError) as error:
        response = getattr(error, "response", None)
        if response is not None:
            status, wait = response.status_code, _pause(response)
        name = type(error).__name__
        kind = "its answer is not JSON" if isinstance(error, ValueError) else _KINDS.get(name, name)
        reason = f"HTTP status {status}" if status else kind
    except ValueError:
        reason = "its answer is not JSON"
    # Outside of the block, so that the error itself is not kept as the context of this one.
    if status == HTTPStatus.NOT_FOUND:
        raise RunError(f"the archive says no ({reason}); is /studies below ingest.pacs.url?")
    if status and status not in _BUSY:
        raise RunError(f"the archive says no ({reason}); see to ingest.pacs, and what the archive allows us")
    raise DroppedError(reason, wait)


def _pause(response: Response) -> float | None:
    """Seconds that the archive asks to wait, or as long as we do; None where it does not say."""
    seconds = retry_after(response.headers.get("Retry-After", ""))
    return None if seconds is None else min(seconds, _LONGEST_PAUSE)


def chunks(response: Response) -> Iterator[bytes]:
    """The body as it comes: whoever reads it knows after each piece how long it takes."""
    while chunk := attempt(response.raw.read1, CHUNK, decode_content=False):
        yield chunk


class _Bounded(HTTPAdapter):
    """Answers that are read at once have an end, and none is packed.

    What is packed may go on for ever and unpack to nothing, of which nobody who reads it is told.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def send(self, request: PreparedRequest, *options: Any, **named: Any) -> Response:
        response = super().send(request, *options, **named)
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            response.close()
            raise RunError(
                "the archive packs its answers, though it is asked not to (Accept-Encoding: identity); have "
                "it, or the proxy before it, send them as they are"
            )
        if not named.get("stream"):
            content, end = bytearray(), time.monotonic() + self._seconds
            while chunk := response.raw.read1(CHUNK, decode_content=False):
                content += chunk
                if len(content) > _LONGEST_ANSWER or time.monotonic() > end:
                    response.close()
                    raise RequestException("the answer does not end")
            response.raw = BytesIO(content)
        return response


def _identify(made: Session, file: Path) -> None:
    kind, _, secret = read_password(file).partition(" ")
    user, colon, password = secret.partition(":")
    if kind == "Bearer" and secret:
        made.headers["Authorization"] = f"Bearer {secret}"
    elif kind == "Basic" and colon:
        made.auth = HTTPBasicAuth(user.encode(), password.encode())
    else:
        raise ConfigError(f"{file} must hold one line, `Basic user:password` or `Bearer token`")
