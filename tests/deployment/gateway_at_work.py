"""The gateway at work: nginx with its real configuration, and behind it a server that tells what came."""

import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time
from base64 import b64encode
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from certificates import Authority, Pair, public_pem, self_signed
from cryptography.hazmat.primitives.asymmetric import ec

from server_app.gateway import STREAMS, Gateway, gateway_config

NOBODY = 65534


@dataclass(frozen=True)
class Came:
    """A request as it reached the SuperLink."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def path(self) -> str:
        return self.line.split()[1]

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]


class SuperLink:
    """Believes every Content-Length, as a server that knows no better, and keeps what came."""

    def __init__(self, pair, host="127.0.0.1", port=0):
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.show(pair)
        self._listening = socket.create_server((host, port))
        self.host, self.port = self._listening.getsockname()
        self.came: list[Came] = []
        self.answer = b"superlink"
        self.more = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self):
        with suppress(OSError):
            while True:
                accepted, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def show(self, pair):
        """Be known by this certificate from now on."""
        with tempfile.TemporaryDirectory() as folder:
            pair.write(Path(folder), "superlink")
            self._tls.load_cert_chain(f"{folder}/superlink.crt", f"{folder}/superlink.key")

    def _serve(self, accepted):
        with suppress(OSError), self._tls.wrap_socket(accepted, server_side=True) as connection:
            self._talk(connection)

    def _talk(self, connection):
        with connection.makefile("rwb") as stream:
            while line := stream.readline():
                headers = []
                while (header := stream.readline().strip()) and header:
                    name, _, value = header.decode("latin1").partition(":")
                    headers.append((name.lower(), value.strip()))
                length = int(dict(headers).get("content-length", "0"))
                came = Came(line.decode("latin1").strip(), headers, stream.read(length))
                self.came.append(came)
                if came.path in STREAMS:
                    stream.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
                    stream.flush()
                    self.more.wait(20)
                    stream.write(b"6\r\nsecond\r\n0\r\n\r\n")
                else:
                    length = str(len(self.answer)).encode()
                    stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: " + length + b"\r\n\r\n" + self.answer)
                stream.flush()


class Federation:
    """A coordinator's folder for its gateway, two hospitals, a researcher and an administrator."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.inside = self_signed("superlink", "localhost")
        (folder / "superlink.crt").write_bytes(self.inside.pem)
        self.superlink = SuperLink(self.inside)
        self.coordinator = Authority("coordinator")
        self.sites, self.researchers = Authority("sites"), Authority("researchers")
        self.alder, self.beech = self.sites.client("alder"), self.sites.client("beech")
        self.grace, self.administrator = (
            self.researchers.client(n) for n in ("grace", "wardround-administrator")
        )
        self.left = self.sites.client("alder")
        self.sites.revoke(self.left)
        self.gone = self.researchers.client("grace")
        self.researchers.revoke(self.gone)
        keys = {name: ec.generate_private_key(ec.SECP384R1()) for name in ("alder", "beech")}
        self.keys = {name: b64encode(public_pem(key)).decode() for name, key in keys.items()}
        self.coordinator.server("localhost").write(folder, "server")
        for name, authority in {"sites": self.sites, "researchers": self.researchers}.items():
            (folder / f"{name}.crt").write_bytes(authority.pem)
            (folder / f"{name}.crl").write_bytes(authority.crl)
        (folder / "both.crt").write_bytes(self.sites.pem + self.researchers.pem)
        (folder / "both.crl").write_bytes(self.sites.crl + self.researchers.crl)
        nodes = "".join(f'"{name}:{key}" 1;\n' for name, key in self.keys.items())
        (folder / "nodes.map").write_text(nodes)

    @classmethod
    @contextmanager
    def standing(cls):
        """One in a folder of its own, while the ``with`` block lasts."""
        # Not below pytest's own folder, which nobody else may enter.
        with tempfile.TemporaryDirectory(prefix="gateway-") as folder:
            Path(folder).chmod(0o755)
            made = cls(Path(folder))
            yield made
            made.superlink.close()

    @contextmanager
    def gateway(self, *weakened: tuple[str, str], **changes):
        """A running nginx; in its configuration each first text is replaced by its second."""
        settings = {"superlink": f"127.0.0.1:{self.superlink.port}", "run": str(self.folder / "run")}
        settings |= dict(zip(("sites_port", "control_port"), free_ports(2), strict=True)) | changes
        config = gateway_config(Gateway(**settings))
        for strict, lax in weakened:
            assert strict in config
            config = config.replace(strict, lax.replace("SUPERLINK", settings["superlink"]))
        (self.folder / "nginx.conf").write_text(config)
        (self.folder / "run").mkdir(exist_ok=True)
        user = NOBODY if os.geteuid() == 0 else None
        if user:
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, user, user)
        command = [shutil.which("nginx"), "-e", "stderr", "-p", str(self.folder), "-c", "nginx.conf"]
        with ExitStack() as stack:
            out, err = (stack.enter_context((self.folder / name).open("wb")) for name in ("out", "err"))
            for file in (out, err):
                os.fchown(file.fileno(), NOBODY if user else os.geteuid(), -1)
            process = stack.enter_context(
                subprocess.Popen(command, stdout=out, stderr=err, user=user, cwd="/")
            )
            try:
                self.superlink.came.clear()
                wait_for(settings["control_port"], process, self.folder / "err")
                yield Door(self, settings["sites_port"], settings["control_port"], process)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(20)

    def client(self, pair: Pair | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.coordinator.pem.decode())
        if pair is not None:
            with tempfile.TemporaryDirectory() as folder:
                pair.write(Path(folder), "client")
                context.load_cert_chain(f"{folder}/client.crt", f"{folder}/client.key")
        return context


def free_ports(count):
    """Ports that nobody has; all different."""
    with ExitStack() as stack:
        held = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in held]


def free_port():
    return free_ports(1)[0]


def wait_for(port, process, errors):
    end = time.monotonic() + 20
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise AssertionError(errors.read_text())


@dataclass(frozen=True)
class Door:
    """A running gateway, to be knocked at."""

    federation: Federation
    sites: int
    control: int
    process: subprocess.Popen

    def connect(self, port: int, pair: Pair | None, context: ssl.SSLContext | None = None, session=None):
        plain = socket.create_connection(("127.0.0.1", port), timeout=20)
        context = context or self.federation.client(pair)
        return context.wrap_socket(plain, server_hostname="localhost", session=session)

    def send(self, port: int, pair: Pair | None, request: bytes) -> bytes:
        """The raw answer to a raw request."""
        came = b""
        with suppress(ssl.SSLError, ConnectionError), self.connect(port, pair) as connection:
            connection.sendall(request)
            while more := connection.recv(1 << 16):
                came += more
        return came

    def site(self, pair: Pair, request: bytes) -> bytes:
        return self.send(self.sites, pair, request)

    def researcher(self, pair: Pair | None, request: bytes) -> bytes:
        return self.send(self.control, pair, request)


def post(path: str, key: str | None = None, *headers: str, body: bytes = b"body", method="POST") -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: localhost",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    if key is not None:
        lines.append(f"flwr-public-key: {key}")
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def status(answer: bytes) -> int:
    """Of HTTP; 0 where there was none, as where TLS was refused."""
    return int(answer.split()[1]) if answer else 0


class NameServer:
    """Says where every name is; that there is none before it was told."""

    def __init__(self):
        self.address = None
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        self._socket.close()

    def _serve(self):
        with suppress(OSError):
            while True:
                asked, whom = self._socket.recvfrom(512)
                if not asked:
                    return
                question = asked[12 : asked.index(b"\0", 12) + 5]
                found = self.address is not None
                head = asked[:2] + struct.pack("!HHHHH", 0x8180 if found else 0x8183, 1, int(found), 0, 0)
                answer = (
                    struct.pack("!HHHIH", 0xC00C, 1, 1, 1, 4) + socket.inet_aton(self.address)
                    if found
                    else b""
                )
                self._socket.sendto(head + question + answer, whom)
