"""A small HTTP server that answers as a test says, and remembers what it was asked."""

import json
import ssl
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs


@dataclass
class Asked:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    form: dict[str, list[str]]


@dataclass
class Scripted:
    """A running server.

    Attributes:
        url: base, without a slash at the end.
        asked: the requests so far.
        answer: ``answer(request) -> (status, headers, body)``; a body that is no bytes is sent as JSON.
    """

    url: str
    answer: object = None
    asked: list[Asked] = field(default_factory=list)


@contextmanager
def scripted(answer, tls=None):
    """A server on loopback; ``tls`` are the files of its certificate and key."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 2**16  # headers and body go together, or each answer waits for an acknowledgement

        def do(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            request = Asked(self.command, self.path, dict(self.headers.items()), parse_qs(body))
            state.asked.append(request)
            status, headers, content = state.answer(request)
            if not isinstance(content, bytes):
                content = json.dumps(content).encode()
            self.send_response(status)
            for name, value in {"content-length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
            self.close_connection = headers.get("connection") == "close"

        do_GET = do_POST = do  # noqa: N815

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    scheme = "http"
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket, scheme = context.wrap_socket(server.socket, server_side=True), "https"
    state = Scripted(f"{scheme}://127.0.0.1:{server.server_port}/fhir", answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def patients(*keys):
    return [{"resource": {"resourceType": "Patient", "id": key}} for key in keys]


def page(*keys, following=None):
    """A page of patients."""
    links = [] if following is None else [{"relation": "next", "url": following}]
    return {"resourceType": "Bundle", "type": "searchset", "entry": patients(*keys), "link": links}


def three_pages(base, request):
    """Patients a to f on three pages, as most servers do it."""
    number = int(parse_qs(request.path.partition("?")[2]).get("page", ["0"])[0])
    following = f"{base}/Patient?page={number + 1}&identifier=MRN-SECRET" if number < 2 else None
    return page(*("ab", "cd", "ef")[number], following=following)
