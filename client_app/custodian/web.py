"""What the custodian's apps share: how a body is read, how work waits its turn, how a failure is answered.

Whatever goes wrong, a stranger gets a ``RefusalReply`` with a rule and a reference; the rest is in the log.
"""

import asyncio
import logging
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Annotated, TypeVar, cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import Field
from starlette.exceptions import HTTPException

from client_app.wire import to_bytes
from federation.errors import MessageError, RefusedError, WardroundError
from federation.messages import RefusalReply
from federation.schema import Frozen

log = logging.getLogger("wardround.custodian")
Result = TypeVar("Result")

_STATUS = {
    "not-found": 404,
    "too-slow": 408,
    "too-large": 413,
    "busy": 429,
    "stopping": 503,
    "time-limit": 503,
}
_IN_THE_LOG = "the site's log says why"


class Limits(Frozen):
    """What one request may take.

    Attributes:
        most_bytes: of a body; ``1 + waiting`` bodies may be held at once.
        body_seconds: until the whole body has come.
        seconds: from there to the answer, time in the queue included, so that nobody waits longer than this.
        waiting: requests that may wait while one is answered.
    """

    most_bytes: Annotated[int, Field(ge=1)] = 600 * 2**20
    body_seconds: Annotated[float, Field(gt=0)] = 120.0
    seconds: Annotated[float, Field(gt=0)] = 3600.0
    waiting: Annotated[int, Field(ge=0)] = 8


class Turns:
    """One piece of work at a time, in a thread of its own; the others wait in the order they came.

    Work that is past its time is answered for, but it cannot be stopped: the next begins when it has ended.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._present = 0
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="custodian")
        self._closed = False

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place in the queue, to be had before anything of a request is read.

        Raises:
            RefusedError: the queue is full (``busy``).
        """
        if self._present > self._limits.waiting:
            raise RefusedError("busy", f"{self._present} requests are ahead; ask again later")
        self._present += 1
        try:
            yield
        finally:
            self._present -= 1

    async def run(self, work: Callable[[], Result]) -> Result:
        """What ``work`` returns, once its turn has come.

        Raises:
            RefusedError: it took too long (``time-limit``), or this process is about to end (``stopping``).
        """
        if self._closed:
            raise _stopping()
        answer = asyncio.wrap_future(self._worker.submit(work))
        await asyncio.wait({answer}, timeout=self._limits.seconds)
        if not answer.done():
            answer.cancel()  # work that has not begun never will
            raise RefusedError("time-limit", f"no answer within {self._limits.seconds:g} s; ask again later")
        if answer.cancelled():
            raise _stopping()
        return answer.result()

    def close(self) -> None:
        """Let no more work begin; what has begun goes on to its end."""
        self._closed = True
        self._worker.shutdown(wait=False, cancel_futures=True)


def _stopping() -> RefusedError:
    return RefusedError("stopping", "the custodian is stopping; ask again when it runs")


def bare_app(limits: Limits, refuse: Callable[[Exception], Response] | None = None) -> FastAPI:
    """An app without routes or documentation, whose every failure is answered by ``refuse``.

    By default that is ``refusal``. ``turns_of`` the app is the queue for all of its work.
    """
    refuse = refusal if refuse is None else refuse

    async def handler(_: Request, error: Exception) -> Response:
        return refuse(error)

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.turns = Turns(limits)
    for kind in (HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, handler)
    return app


def turns_of(app: FastAPI) -> Turns:
    """The queue of a ``bare_app``."""
    return cast(Turns, app.state.turns)


async def read_body(request: Request, limits: Limits) -> bytearray:
    """The body of ``request``.

    Raises:
        RefusedError: it is larger than it may be (``too-large``), or comes too slowly (``too-slow``).
    """
    _require_size(int(request.headers.get("content-length", 0)), limits)
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for chunk in request.stream():
                _require_size(len(body) + len(chunk), limits)
                body += chunk
    except TimeoutError:
        raise RefusedError("too-slow", f"a body must be here within {limits.body_seconds:g} s") from None
    return body


def _require_size(size: int, limits: Limits) -> None:
    if size > limits.most_bytes:
        raise RefusedError("too-large", f"a body has at most {limits.most_bytes} bytes")


def answered(body: bytes, status: int = 200) -> Response:
    """A record's bytes as an answer."""
    return Response(body, status_code=status, media_type="application/octet-stream")


def refusal(error: Exception) -> Response:
    """The answer to a request that ``error`` came of.

    Of a ``RefusedError`` the reason is told, since it was written for whoever asked; of any other error only
    the kind.
    """
    reference = uuid.uuid4().hex[:12]
    rule, reason = _rule(error)
    log.warning("not answered, by %s, reference %s", rule, reference, exc_info=error)
    reply = RefusalReply(site="", kind="failed", rule=rule, reason=reason, reference=reference)
    return answered(to_bytes(reply), status_of(rule, error))


def status_of(rule: str, error: Exception) -> int:
    """HTTP's word for a refusal by ``rule``, which ``error`` led to."""
    return _STATUS.get(rule, 400 if isinstance(error, MessageError) else 500)


def _rule(error: Exception) -> tuple[str, str]:
    match error:
        case RefusedError():
            return error.rule, str(error)
        case HTTPException():
            return "not-found", "there is nothing at this path, or not by this method"
        case RequestValidationError():
            return MessageError.__name__, _IN_THE_LOG
        case WardroundError():
            return type(error).__name__, _IN_THE_LOG
    return f"unexpected-{type(error).__name__}", _IN_THE_LOG
