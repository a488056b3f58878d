"""What the relay can ask of the custodian, over HTTP: one path for each kind of request, and nothing else.

The relay is not trusted. It may send anything, as slowly and as much as it likes, and vanish in the middle.
"""

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Response
from fastapi import Request as HttpRequest

from client_app.custodian.web import Limits, answered, bare_app, read_body, refusal, turns_of
from client_app.wire import OPERATIONS, from_bytes, to_bytes
from federation.errors import MessageError
from federation.messages import Reply, Request

DEFAULT_LIMITS = Limits()


def relay_app(custodian_handle: Callable[[Request], Reply], limits: Limits = DEFAULT_LIMITS) -> FastAPI:
    """The app for the relay's socket.

    ``POST /v1/<operation>`` takes the bytes of one request (``client_app.wire``) and answers with those of
    one reply. ``custodian_handle`` is called in a thread, never twice at once.
    """
    app = bare_app(limits)

    def endpoint(kind: type[Request]) -> Callable[[HttpRequest], Awaitable[Response]]:
        async def answer(http: HttpRequest) -> Response:
            try:
                with turns_of(app).place():
                    request = _request(kind, await read_body(http, limits))
                    return answered(await turns_of(app).run(lambda: to_bytes(custodian_handle(request))))
            except Exception as error:
                return refusal(error)

        return answer

    for operation, kind in OPERATIONS.items():
        app.add_api_route(f"/v1/{operation}", endpoint(kind), methods=["POST"])
    return app


def _request(kind: type[Request], body: bytearray) -> Request:
    record = from_bytes(body)
    if not isinstance(record, kind):
        raise MessageError(f"a {type(record).__name__} where a {kind.__name__} belongs")
    return record
