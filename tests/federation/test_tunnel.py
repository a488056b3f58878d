"""What the tunnel carries, whom it believes, and who may use it; each tunnel is the real program."""

import hashlib
import json
import os
import select
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from base64 import b64encode
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from certificates import Authority

from federation.errors import ConfigError, DataError
from federation.tunnel import peer_user as users
from federation.tunnel.address import Address, address_of
from federation.tunnel.failures import Failures
from federation.tunnel.gateways import researcher_tunnel, site_gateway
from federation.tunnel.peer_user import check_users_are_told, peer_user
from federation.tunnel.tunnel import Tunnel
from federation.tunnel.way_out import Proxy, proxy_of

pytestmark = pytest.mark.deployment  # for its time
ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = {
    "researcher": "from server_app.commands.tunnel import tunnel as command",
    "site": "from client_app.commands.gateway import gateway as command",
}
MANY = os.urandom(10_000_000)
NOBODY = 65534


class Server:
    """Accepts TCP connections and gives each to ``handle`` in a thread of its own."""

    def __init__(self, handle, port):
        self._handle = handle
        self._listening = socket.create_server(("127.0.0.1", port))
        self.port = self._listening.getsockname()[1]
        self.faults = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # which wakes whoever waits
        self._listening.close()

    def _accept(self):
        with suppress(OSError):
            while True:
                accepted, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted):
        with accepted:
            try:
                self._handle(accepted)
            except OSError as error:
                self.faults.append(error)


class Setting:
    """A coordinator's gateway that a test writes itself, and the folders of those who connect to it."""

    def __init__(self, folder):
        self.folder = folder / "connection"
        self.log = folder / "log"
        self.coordinator, self.members = Authority("coordinator"), Authority("members")
        self.inside = Authority("inside")
        self._server = folder / "server"
        self._servers = []
        self.serve_as(self.coordinator.server("127.0.0.1"))
        self.folder.mkdir()
        (self.folder / "coordinator.crt").write_bytes(self.coordinator.pem)
        self.members.client("alder").write(self.folder, "client")
        self.inside.server("localhost", "127.0.0.1").write(self.folder, "inside")

    def serve_as(self, pair):
        pair.write(self._server, "server")

    def far(self, handle, most=None, port=0):
        """The coordinator's gateway; ``handle`` is given each connection inside TLS."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if most:
            context.maximum_version = most
        context.load_cert_chain(self._server / "server.crt", self._server / "server.key")
        context.load_verify_locations(cadata=self.members.pem.decode())
        context.verify_mode = ssl.CERT_REQUIRED

        def inside_tls(accepted):
            with context.wrap_socket(accepted, server_side=True) as connection:
                handle(connection)

        return self.server(inside_tls, port)

    def server(self, handle, port=0):
        self._servers.append(Server(handle, port))
        return self._servers[-1]

    @contextmanager
    def tunnel(self, kind, port, *options, weakened=""):
        """The running program; gives its port and process."""
        values = {"name": "alder", "federation": "lung", "address": "127.0.0.1", "kind": kind}
        values |= {"sites_port": port, "control_port": port}
        (self.folder / "connection.json").write_text(json.dumps(values))
        code = f"{PROGRAMS[kind]}\n{weakened}\ncommand()"
        arguments = [sys.executable, "-c", code, "--connection", self.folder, "--listen", "127.0.0.1:0"]
        with (
            self.log.open("wb") as log,
            subprocess.Popen([*arguments, *options], stderr=log, cwd=ROOT) as process,
        ):
            try:
                yield self._port(process), process
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(10)

    def _port(self, process):
        end = time.monotonic() + 30
        while time.monotonic() < end and process.poll() is None:
            if " leads to " in (said := self.log.read_text()):
                return int(said.split(" leads to ")[0].rsplit(":", 1)[1])
            time.sleep(0.02)
        raise AssertionError(self.log.read_text())

    def complaints(self):
        return [line for line in self.log.read_text().splitlines() if "WARNING" in line]

    def close(self):
        for server in self._servers:
            server.close()


@pytest.fixture
def setting(tmp_path):
    made = Setting(tmp_path)
    yield made
    made.close()


@contextmanager
def connected(setting, kind, port):
    """As a SuperNode or a researcher's command connects."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
        if kind == "researcher":
            yield plain
        else:
            context = ssl.create_default_context(cadata=setting.inside.pem.decode())
            with context.wrap_socket(plain, server_hostname="localhost") as inside:
                yield inside


def whole(connection, count):
    came = bytearray()
    while len(came) < count and (more := connection.recv(1 << 16)):
        came += more
    return bytes(came)


def until_end(connection):
    return whole(connection, float("inf"))


def echoed(connection, data):
    """What comes back while ``data`` are sent; one thread, since OpenSSL's connections are not for two."""
    connection.setblocking(False)
    came, ahead = bytearray(), memoryview(data)
    waits = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
    while len(came) < len(data):
        select.select([connection], [connection] if ahead else [], [], 20)
        with suppress(*waits):
            ahead = ahead[connection.send(ahead[: 1 << 16]) :] if ahead else ahead
        with suppress(*waits):
            if not (more := connection.recv(1 << 16)):
                break
            came += more
    return bytes(came)


def echo(connection):
    while came := connection.recv(1 << 16):
        connection.sendall(came)
    connection.unwrap()


def name_shown(connection):
    """Tell a client what its certificate calls it."""
    connection.recv(1)
    connection.sendall(dict(each[0] for each in connection.getpeercert()["subject"])["commonName"].encode())
    connection.unwrap()


def answered(port):
    """What a researcher's one byte brings, which is nothing where the tunnel hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection, suppress(ConnectionError):
        connection.sendall(b"?")
        return until_end(connection)
    return b""


@pytest.mark.parametrize("kind", ["researcher", "site"])
class TestCarrying:
    def test_bytes_arrive_whole_in_both_directions_at_once(self, setting, kind):
        far = setting.far(echo)
        with setting.tunnel(kind, far.port) as (port, _), connected(setting, kind, port) as connection:
            assert echoed(connection, MANY) == MANY

    def test_an_idle_connection_stays(self, setting, kind):
        far = setting.far(echo)
        with setting.tunnel(kind, far.port) as (port, _), connected(setting, kind, port) as connection:
            for word in (b"one", b"two"):
                connection.sendall(word)
                assert whole(connection, 3) == word
                time.sleep(0.5)

    def test_many_connections_at_once(self, setting, kind):
        far, words = setting.far(echo), [str(number).encode() * 1000 for number in range(100, 160)]
        with setting.tunnel(kind, far.port) as (port, _):
            contexts = [connected(setting, kind, port) for _ in words]
            opened = [context.__enter__() for context in contexts]
            for connection, word in zip(opened, words, strict=True):
                connection.sendall(word)
            assert [
                whole(connection, len(word)) for connection, word in zip(opened, words, strict=True)
            ] == words
            for context in contexts:
                context.__exit__(None, None, None)
        assert setting.complaints() == []

    @pytest.mark.parametrize("weakened", [False, True])
    def test_who_sends_faster_than_the_other_takes_waits(self, setting, kind, weakened):
        begin = threading.Event()
        digest = hashlib.sha256()

        def slow(connection):
            begin.wait(30)
            digest.update(until_end(connection))
            connection.unwrap()

        far = setting.far(slow)
        with (
            setting.tunnel(kind, far.port, weakened=GREEDY if weakened else "") as (port, process),
            connected(setting, kind, port) as connection,
        ):
            before = psutil.Process(process.pid).memory_info().rss
            sent = sent_until_it_waits(connection, most=64_000_000)
            grown = psutil.Process(process.pid).memory_info().rss - before
            begin.set()
            if weakened:
                assert grown > 32_000_000
                return
            assert grown < 8_000_000
            assert sent < 32_000_000


GREEDY = """
import federation.tunnel.forward as forward
async def one_way(source, sink):
    pieces = []
    while data := await source.receive():
        pieces.append(data)
    await sink.send(b"".join(pieces))
    await sink.finish()
forward._one_way = one_way
"""


def sent_until_it_waits(connection, most):
    """How many bytes are taken before nothing moves for a second."""
    connection.settimeout(1)
    sent, piece = 0, bytes(100_000)
    with suppress(TimeoutError):
        while sent < most:
            sent += connection.send(piece)
    return sent


class TestHalfClosing:
    """One side has said all; what the other still says arrives."""

    def test_a_researcher_has_said_all(self, setting):
        def last_word(connection):
            connection.sendall(str(len(until_end(connection))).encode() + MANY)
            connection.unwrap()

        far = setting.far(last_word)
        with (
            setting.tunnel("researcher", far.port) as (port, _),
            connected(setting, "researcher", port) as connection,
        ):
            connection.sendall(bytes(1_000_000))
            connection.shutdown(socket.SHUT_WR)
            assert until_end(connection) == b"1000000" + MANY
        assert setting.complaints() == []

    def test_a_supernode_has_said_all(self, setting):
        def last_word(connection):
            connection.sendall(until_end(connection) + MANY)
            connection.unwrap()

        far = setting.far(last_word)
        context = ssl.create_default_context(cadata=setting.inside.pem.decode())
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with (
            setting.tunnel("site", far.port) as (port, _),
            socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        ):

            def driven(step):
                while True:
                    try:
                        return step()
                    except ssl.SSLWantReadError:
                        plain.sendall(outgoing.read())
                        incoming.write(plain.recv(1 << 16))
                    finally:
                        plain.sendall(outgoing.read())

            driven(tls.do_handshake)
            tls.write(b"all")
            with suppress(ssl.SSLWantReadError):
                tls.unwrap()
            came = bytearray()
            while (more := driven(lambda: read(tls))) is not None:
                came += more
        assert bytes(came) == b"all" + MANY

    def test_the_coordinator_has_said_all(self, setting):
        heard = []

        def first_word(connection):
            connection.sendall(b"no more")
            with suppress(ssl.SSLError, OSError):
                connection.unwrap()
            heard.append(True)

        far = setting.far(first_word)
        with (
            setting.tunnel("researcher", far.port) as (port, _),
            connected(setting, "researcher", port) as connection,
        ):
            assert until_end(connection) == b"no more"
            connection.shutdown(socket.SHUT_WR)
        assert heard


def read(tls):
    """What came, or None at the end."""
    try:
        return tls.read(1 << 16) or None
    except ssl.SSLZeroReturnError:
        return None


CUT = "to cut a reply short on its way through the internet"


def half_a_reply(connection):
    connection.recv(1)
    connection.sendall(b"half")
    os.close(connection.detach())


@pytest.mark.attack(CUT, held_by="an end that TLS has not announced breaks the connection")
def test_a_reply_that_is_cut_does_not_look_like_its_end(setting):
    far = setting.far(half_a_reply)
    with (
        setting.tunnel("researcher", far.port) as (port, _),
        connected(setting, "researcher", port) as connection,
    ):
        connection.sendall(b"?")
        with pytest.raises(ConnectionResetError):
            until_end(connection)


@pytest.mark.mutant(CUT, "takes any end for the end")
def test_a_tunnel_that_takes_any_end_passes_half_a_reply_on(setting):
    far = setting.far(half_a_reply)
    lax = """
import federation.tunnel.tunnel as tunnel
strict = tunnel.TlsEnd
tunnel.TlsEnd = lambda *arguments, **named: strict(*arguments, **named | {"whole": False})
"""
    with setting.tunnel("researcher", far.port, weakened=lax) as (port, _):
        assert answered(port) == b"half"


STANDS_IN = "to stand in for the coordinator's gateway"
NO_CHECK = """
import ssl, federation.tunnel.gateways as gateways
strict = gateways.towards_coordinator
def lax(*files):
    context = strict(*files)
    context.check_hostname = False
    {}
    return context
gateways.towards_coordinator = lax
"""
ANY_AUTHORITY = NO_CHECK.format("context.verify_mode = ssl.CERT_NONE")
ANY_NAME = NO_CHECK.format("pass")
FALSE_ONES = {
    "another authority": (
        lambda c: Authority("coordinator").server("127.0.0.1"),
        "self-signed certificate|unable to get",
        ANY_AUTHORITY,
    ),
    "another name": (lambda c: c.server("elsewhere.example"), "IP address mismatch", ANY_NAME),
    "expired": (lambda c: c.server("127.0.0.1", expired=True), "certificate has expired", ANY_AUTHORITY),
    "a member": (
        lambda c: c.client("127.0.0.1"),
        "unsuitable certificate purpose|unsupported certificate purpose",
        ANY_AUTHORITY,
    ),
}


@pytest.mark.parametrize("false", FALSE_ONES)
class TestStandingIn:
    @pytest.mark.attack(STANDS_IN, held_by="the pinned authority, the name, the dates and the purpose")
    def test_nothing_is_said_to_it(self, setting, false):
        make, reason, _ = FALSE_ONES[false]
        setting.serve_as(make(setting.coordinator))
        far = setting.far(name_shown)
        with setting.tunnel("researcher", far.port) as (port, _):
            assert answered(port) == b""
            (line,) = setting.complaints()
        assert f"127.0.0.1:{far.port}: its certificate is not believed" in line
        assert any(each in line for each in reason.split("|"))

    @pytest.mark.mutant(STANDS_IN, "believes any certificate, or any name")
    def test_a_tunnel_that_does_not_look_is_taken_in(self, setting, false):
        make, _, lax = FALSE_ONES[false]
        setting.serve_as(make(setting.coordinator))
        far = setting.far(name_shown)
        with setting.tunnel("researcher", far.port, weakened=lax) as (port, _):
            assert answered(port) == b"alder"


OLD_TLS = "to have an older TLS spoken"


@pytest.mark.attack(OLD_TLS, held_by="TLS 1.3 alone")
def test_an_older_tls_is_not_spoken(setting):
    far = setting.far(name_shown, most=ssl.TLSVersion.TLSv1_2)
    with setting.tunnel("researcher", far.port) as (port, _):
        assert answered(port) == b""
        assert "TLS failed" in setting.complaints()[0]


@pytest.mark.mutant(OLD_TLS, "speaks whatever OpenSSL does")
def test_openssl_by_itself_would_speak_it(setting):
    far = setting.far(name_shown, most=ssl.TLSVersion.TLSv1_2)
    lax = NO_CHECK.format("context.minimum_version = ssl.TLSVersion.TLSv1_2")
    with setting.tunnel("researcher", far.port, weakened=lax) as (port, _):
        assert answered(port) == b"alder"


def test_nor_is_an_older_tls_taken_from_inside(setting):
    far = setting.far(echo)
    context = ssl.create_default_context(cadata=setting.inside.pem.decode())
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        setting.tunnel("site", far.port) as (port, _),
        socket.create_connection(("127.0.0.1", port)) as plain,
        pytest.raises(ssl.SSLError, match="protocol version"),
    ):
        context.wrap_socket(plain, server_hostname="localhost")


ANOTHER_USER = "to use a researcher's certificate as another user of the machine"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a program as another user")


def asked_by(user, port):
    """What a program of ``user`` gets from the tunnel."""
    script = f"exec 3<>/dev/tcp/127.0.0.1/{port}; printf '?' >&3; cat <&3"
    done = subprocess.run(
        ["/bin/bash", "-c", script], check=False, user=user, capture_output=True, timeout=20
    )
    return done.stdout


class TestWhoMayUseIt:
    @as_root
    @pytest.mark.attack(ANOTHER_USER, held_by="the kernel's word on whose a connection is")
    def test_another_user_of_this_machine_is_refused(self, setting):
        far = setting.far(name_shown)
        with setting.tunnel("researcher", far.port) as (port, _):
            assert asked_by(NOBODY, port) == b""
            assert asked_by(0, port) == b"alder"
            (line,) = setting.complaints()
        assert line.endswith("refused a connection of user 65534")

    @as_root
    @pytest.mark.mutant(ANOTHER_USER, "does not ask")
    def test_a_tunnel_that_does_not_ask_serves_everybody(self, setting):
        far = setting.far(name_shown)
        lax = "import federation.tunnel.tunnel as tunnel\ntunnel.peer_user = lambda *_: 0"
        with setting.tunnel("researcher", far.port, weakened=lax) as (port, _):
            assert asked_by(NOBODY, port) == b"alder"

    @pytest.mark.parametrize(
        ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::ffff:127.0.0.1")]
    )
    def test_own_connections_are_known(self, family, host):
        with Loopback(family, host) as (peer, own):
            assert peer_user(peer, own) == os.geteuid()

    LEAVES = "to send something on a loopback and be gone before anybody looks who it was"

    @pytest.mark.attack(LEAVES, held_by="a socket that nobody holds is nobody's")
    def test_whoever_has_left_is_nobody(self):
        loopback = Loopback(socket.AF_INET, "127.0.0.1")
        with loopback as (peer, own):
            loopback.client.close()
            assert peer_user(peer, own) is None

    @pytest.mark.mutant(LEAVES, "takes the kernel's number as it stands")
    def test_the_kernel_alone_would_say_root(self, monkeypatch):
        monkeypatch.setattr(users, "_INODE", 0)  # the number of the line, which is never a bare 0
        loopback = Loopback(socket.AF_INET, "127.0.0.1")
        with loopback as (peer, own):
            loopback.client.close()
            assert peer_user(peer, own) == 0

    def test_where_users_are_not_told_apart_there_is_no_tunnel(self, monkeypatch, tmp_path):
        monkeypatch.setattr(users, "_TABLES", (tmp_path / "tcp",))
        with pytest.raises(
            ConfigError, match=r"any user of this machine could use .* run this command on Linux"
        ):
            check_users_are_told()

    def test_a_researchers_tunnel_is_on_its_own_machine_alone(self):
        with pytest.raises(ConfigError, match=r"192.0.2.1:9093 is not this machine's own address; take 127"):
            Tunnel(Address("192.0.2.1", 9093), Address("hub", 1), None, inside=None, failures=Failures())


class Loopback:
    """An accepted connection of this process to itself: its peer's address, and its own."""

    def __init__(self, family, host):
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.client = socket.socket(family)
        self.client.connect((host, self._listening.getsockname()[1]))

    def __enter__(self):
        self._accepted, peer = self._listening.accept()
        return peer, self._accepted.getsockname()

    def __exit__(self, *_):
        for each in (self.client, self._accepted, self._listening):
            each.close()


class TestRenewal:
    def test_a_new_certificate_is_used_by_the_next_connection(self, setting):
        far = setting.far(name_shown)
        with setting.tunnel("researcher", far.port) as (port, _):
            assert answered(port) == b"alder"
            setting.members.client("alder2").write(setting.folder, "client")
            assert answered(port) == b"alder2"

    def test_half_a_renewal_leaves_the_old_one_in_use(self, setting):
        far, new = setting.far(name_shown), setting.members.client("alder2")
        with setting.tunnel("researcher", far.port) as (port, _):
            (setting.folder / "client.crt").write_bytes(new.pem)
            assert answered(port) == b"alder"
            (setting.folder / "client.crt").write_bytes(new.pem[:200])
            assert answered(port) == b"alder"
            new.write(setting.folder, "client")
            assert answered(port) == b"alder2"
            (line,) = setting.complaints()
        assert "client.key are no certificate and its key" in line
        assert line.endswith("what was read before is still used")

    def test_what_was_damaged_before_the_start_is_said_at_once(self, setting):
        (setting.folder / "client.key").write_bytes(setting.members.client("alder").key_pem)
        with (
            pytest.raises(
                AssertionError,
                match=r"DataError: .*client.crt and .*client.key are no certificate and its key",
            ),
            setting.tunnel("researcher", 1),
        ):
            pass


class TestFailing:
    def test_where_nobody_answers_connections_end_and_one_line_is_written(self, setting):
        far = setting.far(echo)
        far.close()
        with setting.tunnel("researcher", far.port) as (port, _):
            for _ in range(30):
                assert answered(port) == b""
            (line,) = setting.complaints()
        assert line.endswith(f"127.0.0.1:{far.port} cannot be reached (Connection refused)")

    def test_whoever_looks_whether_it_listens_leaves_no_line_and_half_a_hello_does(self, setting):
        far = setting.far(echo)
        with setting.tunnel("site", far.port) as (port, _):
            for said in (b"", b"", b"\x16\x03\x01"):
                with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
                    connection.sendall(said)
                    connection.shutdown(socket.SHUT_WR)
                    with suppress(ConnectionError):
                        until_end(connection)
            (line,) = setting.complaints()
        assert line.endswith("a SuperNode ended the connection before TLS began")

    def test_it_serves_again_once_there_is_somebody(self, setting):
        gone = setting.far(echo)
        gone.close()
        with setting.tunnel("researcher", gone.port) as (port, _):
            assert answered(port) == b""
            setting.far(name_shown, port=gone.port)
            assert answered(port) == b"alder"

    def test_a_kind_of_failure_is_told_again_after_a_minute_with_its_number(self, caplog):
        now = [0.0]
        failures = Failures(clock=lambda: now[0])
        for second in (0.0, 1.0, 59.0, 61.0):
            now[0] = second
            failures.tell("a", "hub cannot be reached")
        failures.tell("b", "another")
        assert caplog.messages == [
            "hub cannot be reached",
            "hub cannot be reached (and 2 more of this kind since the last line)",
            "another",
        ]

    def test_nothing_of_what_is_carried_is_written_down(self, setting):
        far = setting.far(half_a_reply)
        with (
            setting.tunnel("researcher", far.port) as (port, _),
            connected(setting, "researcher", port) as connection,
            suppress(ConnectionError),
        ):
            connection.sendall(b"?patient 4711")
            until_end(connection)
        assert "4711" not in setting.log.read_text()
        assert "half" not in setting.log.read_text()

    @pytest.mark.parametrize("kind", ["researcher", "site"])
    def test_sigterm_ends_it_and_what_is_open(self, setting, kind):
        far = setting.far(echo)
        with setting.tunnel(kind, far.port) as (port, process), connected(setting, kind, port) as connection:
            connection.sendall(b"a")
            assert whole(connection, 1) == b"a"
            process.send_signal(signal.SIGTERM)
            assert process.wait(5) == 0
            with suppress(ConnectionError, ssl.SSLError):
                assert connection.recv(1) == b""
        assert "Traceback" not in setting.log.read_text()

    def test_whoever_does_not_answer_is_given_up(self, setting):
        silent = setting.server(lambda accepted: accepted.recv(1 << 16) and time.sleep(10))
        soon = "import federation.tunnel.forward as forward\nforward._CONNECT_SECONDS = 0.3"
        with setting.tunnel("researcher", silent.port, weakened=soon) as (port, _):
            assert answered(port) == b""
            assert f"127.0.0.1:{silent.port} did not answer within 0.3 s" in setting.complaints()[0]

    def test_nor_is_a_supernode_waited_for(self, setting):
        far = setting.far(echo)
        soon = "import federation.tunnel.tunnel as tunnel\ntunnel._HELLO_SECONDS = 0.3"
        with (
            setting.tunnel("site", far.port, weakened=soon) as (port, _),
            socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        ):
            assert plain.recv(1) == b""
            assert "a SuperNode did not begin TLS within 0.3 s" in setting.complaints()[0]

    def test_more_connections_than_it_has_files_for_wait_for_their_turn(self, setting):
        far = setting.far(name_shown)
        few = "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))"
        with setting.tunnel("researcher", far.port, weakened=few) as (port, process):
            crowd = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(40)]
            time.sleep(0.5)
            assert "no connection can be accepted (Too many open files)" in setting.log.read_text()
            for each in crowd:
                each.close()
            end = time.monotonic() + 20
            while answered(port) != b"alder":
                assert time.monotonic() < end
            assert process.poll() is None

    def test_noise_in_place_of_tls_ends_that_connection_alone(self, setting):
        far = setting.far(echo)
        with setting.tunnel("site", far.port) as (port, _):
            with (
                socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
                suppress(ConnectionError),
            ):
                plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
                until_end(plain)
            with connected(setting, "site", port) as connection:
                connection.sendall(b"a")
                assert whole(connection, 1) == b"a"
            assert "a SuperNode: TLS failed" in setting.complaints()[0]


class ProxyServer:
    """An HTTP proxy that knows CONNECT, and maybe one user."""

    def __init__(self, login=None, also=b""):
        self._login = login and b"Proxy-Authorization: Basic " + b64encode(login)
        self._also = also
        self.heads = []

    def __call__(self, accepted):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += accepted.recv(1)
        self.heads.append(head)
        if self._login and self._login not in head:
            accepted.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        host, port = head.split()[1].decode().split(":")
        try:
            far = socket.create_connection((host, int(port)))
        except OSError:
            accepted.sendall(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
            return
        with far:
            accepted.sendall(b"HTTP/1.1 200 Connection established\r\nVia: proxy\r\n\r\n" + self._also)
            back = threading.Thread(target=self._pass_on, args=(far, accepted))
            back.start()
            self._pass_on(accepted, far)
            back.join()

    @staticmethod
    def _pass_on(source, sink):
        with suppress(OSError):
            while came := source.recv(1 << 16):
                sink.sendall(came)
            sink.shutdown(socket.SHUT_WR)


class TestThroughAProxy:
    def test_bytes_pass_it(self, setting):
        handle = ProxyServer()
        far, proxy = setting.far(echo), setting.server(handle)
        with (
            setting.tunnel("site", far.port, "--proxy", f"http://127.0.0.1:{proxy.port}") as (port, _),
            connected(setting, "site", port) as connection,
        ):
            assert echoed(connection, MANY) == MANY
        (head,) = handle.heads
        assert head == f"CONNECT 127.0.0.1:{far.port} HTTP/1.1\r\nHost: 127.0.0.1:{far.port}\r\n\r\n".encode()

    def test_with_a_user_whose_password_is_in_the_url(self, setting):
        far, proxy = setting.far(name_shown), setting.server(ProxyServer(b"alder:s3cret@"))
        url = f"http://alder:s3cret%40@127.0.0.1:{proxy.port}"
        with setting.tunnel("researcher", far.port, "--proxy", url) as (port, _):
            assert answered(port) == b"alder"

    def test_or_in_a_file(self, setting, tmp_path):
        far, proxy = setting.far(name_shown), setting.server(ProxyServer(b"alder:s3cret@"))
        (tmp_path / "password").write_text("s3cret@\n")
        options = (
            "--proxy",
            f"http://alder@127.0.0.1:{proxy.port}",
            "--proxy-password",
            tmp_path / "password",
        )
        with setting.tunnel("researcher", far.port, *options) as (port, _):
            assert answered(port) == b"alder"

    def test_a_wrong_password_is_said_and_not_repeated(self, setting):
        far, proxy = setting.far(name_shown), setting.server(ProxyServer(b"alder:s3cret"))
        url = f"http://alder:wr0ng@127.0.0.1:{proxy.port}"
        with setting.tunnel("researcher", far.port, "--proxy", url) as (port, _):
            assert answered(port) == b""
            (line,) = setting.complaints()
        assert line.endswith(
            f"the proxy 127.0.0.1:{proxy.port} wants a user and a password, or others (407); see --proxy"
        )
        assert "wr0ng" not in setting.log.read_text()

    def test_a_proxy_that_does_not_get_there_is_said(self, setting):
        proxy = setting.server(ProxyServer())
        with setting.tunnel("researcher", 1, "--proxy", f"http://127.0.0.1:{proxy.port}") as (port, _):
            assert answered(port) == b""
            assert "does not lead to 127.0.0.1:1 (502)" in setting.complaints()[0]

    def test_nor_may_it_speak_before_the_coordinator_does(self, setting):
        far, proxy = setting.far(name_shown), setting.server(ProxyServer(also=b"more"))
        with setting.tunnel("researcher", far.port, "--proxy", f"http://127.0.0.1:{proxy.port}") as (port, _):
            assert answered(port) == b""
            assert "says more than it was asked" in setting.complaints()[0]

    def test_the_coordinator_must_prove_its_name_behind_a_proxy_too(self, setting):
        setting.serve_as(Authority("coordinator").server("127.0.0.1"))
        far, proxy = setting.far(name_shown), setting.server(ProxyServer())
        with setting.tunnel("researcher", far.port, "--proxy", f"http://127.0.0.1:{proxy.port}") as (port, _):
            assert answered(port) == b""
            assert "its certificate is not believed" in setting.complaints()[0]

    @pytest.mark.parametrize(
        "url",
        ["proxy:3128", "https://proxy:3128", "http://proxy", "http://a:s3cret@/", "http://a:s3cret@h:x"],
    )
    def test_what_is_no_proxy_is_refused_without_being_repeated(self, url):
        with pytest.raises(ConfigError, match=r"--proxy is not http://") as refusal:
            proxy_of(url)
        assert "s3cret" not in str(refusal.value)

    def test_a_login_is_not_printed(self):
        assert proxy_of("http://a:s3cret@proxy:3128") == Proxy("proxy", 3128, b64encode(b"a:s3cret").decode())
        assert "login" not in repr(proxy_of("http://a:s3cret@proxy:3128"))


@pytest.mark.parametrize("text", ["9093", "localhost:9093", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:x"])
def test_what_is_no_address_is_named(text):
    with pytest.raises(ConfigError, match=r"is not ADDRESS:PORT, for example 127.0.0.1:9093"):
        address_of(text)


def test_addresses_of_both_kinds_are_read():
    assert [str(address_of(text)) for text in ("127.0.0.1:1", "[::1]:2")] == ["127.0.0.1:1", "[::1]:2"]


CONNECTION = {
    "name": "alder",
    "kind": "site",
    "federation": "lung",
    "address": "hub",
    "sites_port": 1,
    "control_port": 2,
}


class TestConnection:
    def test_a_hospitals_is_not_a_researchers(self, tmp_path):
        (tmp_path / "connection.json").write_text(json.dumps(CONNECTION))
        with pytest.raises(DataError, match="is a site's; this command is a researcher's"):
            researcher_tunnel(tmp_path, "127.0.0.1:0")

    def test_without_a_kit_there_is_none(self, tmp_path):
        with pytest.raises(DataError, match=r"connection.json cannot be read \(No such file"):
            site_gateway(tmp_path, "127.0.0.1:0")
