"""A SuperNode whose coordinator does not let it in, or breaks: it says why and ends, to be started again."""

import re
import ssl
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from certificates import self_signed
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from flwr.proto.fleet_pb2 import ActivateNodeResponse, PullMessagesResponse
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatResponse

from simulation.programs import BIN, Programs, free_ports

pytestmark = pytest.mark.deployment

ACTIVATE, PULL, HEARTBEAT = (
    f"/v1/fleet/{name}" for name in ("activate-node", "pull-messages", "send-node-heartbeat")
)
WELL = {
    ACTIVATE: ActivateNodeResponse(node_id=1),
    PULL: PullMessagesResponse(),
    HEARTBEAT: SendNodeHeartbeatResponse(success=True),
}
PAGE = {"content-type": "text/html"}


def ago(**time):
    return {"date": format_datetime(datetime.now(UTC) - timedelta(**time), usegmt=True)}


@contextmanager
def coordinator(folder, answers):
    """Where each path is answered by ``(status, headers)``, and well where it is not named."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            status, headers = answers.get(self.path, (200, {}))
            body = WELL[self.path].SerializeToString() if status == 200 and self.path in WELL else b""
            self.send_response_only(status)
            for name, value in (ago() | headers | {"content-length": str(len(body))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    self_signed("localhost", "127.0.0.1").write(folder, "inside")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "inside.crt", folder / "inside.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def ended(tmp_path):
    """``ended({path: (status, headers)})``: exit code and log of a SuperNode that was answered so."""

    def run(answers):
        key = ec.generate_private_key(ec.SECP384R1())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        (tmp_path / "node.key").write_bytes(pem)
        (tmp_path / "launcher.secret").write_bytes(bytes(range(32)))
        with coordinator(tmp_path, answers) as address, Programs(tmp_path) as programs:
            programs.start(
                "supernode",
                *(BIN / "wardround-site", "supernode", "--connection", tmp_path, "--gateway", address),
                *("--custodian", tmp_path / "relay.sock"),
                *("--runtime", f"127.0.0.1:{free_ports(1)[0]}"),
            )
            return programs.exit_code("supernode", 60), programs.log("supernode")

    return run


def test_a_clock_that_is_off_is_said(ended):
    code, said = ended({ACTIVATE: (401, ago(minutes=10))})
    assert code == 1
    assert re.search(r"this machine's clock is 0:10:\d\d ahead of the coordinator's", said)


@pytest.mark.parametrize(
    ("path", "answer", "why"),
    [
        (PULL, (403, PAGE), "its certificate has expired or was revoked"),
        (PULL, (500, {}), "500 Internal Server Error"),
    ],
)
def test_what_it_cannot_go_on_after_ends_it_with_the_reason(ended, path, answer, why):
    code, said = ended({path: answer})
    assert code == 1
    assert why in said


def test_without_a_heartbeat_it_ends_too(ended):
    code, said = ended({HEARTBEAT: (500, {})})
    assert code == 1
    assert "this SuperNode cannot go on: Server error '500" in said
