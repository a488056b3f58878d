"""What the coordinator's gateway lets through: real nginx, and behind it a server that tells what came.

Each attack is tried once more on a gateway with one line of its configuration weakened.
"""

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from certificates import Authority, self_signed
from gateway_at_work import NOBODY, Door, Federation, NameServer, SuperLink, free_port, post, status

from server_app.gateway import ADMINISTRATORS, RESEARCHERS, SITES, STREAMS

pytestmark = [
    pytest.mark.deployment,
    pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed"),
]
PULL = "/v1/fleet/pull-messages"
RUNS = "/v1/control/list-runs"
RUNTIME = "/v1/runtime/acquire-task"


@pytest.fixture(scope="module")
def federation():
    with Federation.standing() as made:
        yield made


@pytest.fixture
def door(federation):
    with federation.gateway() as opened:
        yield opened


class TestWhatIsLetThrough:
    @pytest.mark.parametrize("path", SITES)
    def test_a_hospital_with_its_own_key(self, door, federation, path):
        answer = door.site(federation.alder, post(path, federation.keys["alder"]))
        assert status(answer) == 200
        assert answer.endswith(b"\r\n\r\nsuperlink")
        (came,) = federation.superlink.came
        assert (came.line, came.body) == (f"POST {path} HTTP/1.1", b"body")

    @pytest.mark.parametrize("path", RESEARCHERS)
    def test_a_researcher(self, door, federation, path):
        assert status(door.researcher(federation.grace, post(path))) == 200

    @pytest.mark.parametrize("path", ADMINISTRATORS)
    def test_the_administrator(self, door, federation, path):
        assert status(door.researcher(federation.administrator, post(path))) == 200

    @pytest.mark.parametrize("path", STREAMS)
    def test_a_stream_as_it_comes(self, door, federation, path):
        federation.superlink.more.clear()
        with door.connect(door.control, federation.grace) as connection:
            connection.sendall(post(path))
            came = b""
            while b"first" not in came:
                came += connection.recv(1 << 16)
            assert b"second" not in came
            federation.superlink.more.set()
            while more := connection.recv(1 << 16):
                came += more
        assert b"second" in came

    def test_a_piece_of_a_model_both_ways_and_none_of_it_on_disk(self, door, federation):
        piece = os.urandom(5_300_000)
        federation.superlink.answer = piece
        try:
            answer = door.site(
                federation.alder, post("/v1/fleet/push-object", federation.keys["alder"], body=piece)
            )
        finally:
            federation.superlink.answer = b"superlink"
        assert answer.endswith(b"\r\n\r\n" + piece)
        assert federation.superlink.came[0].body == piece
        assert [path.name for path in (federation.folder / "run").rglob("*") if path.is_file()] == [
            "nginx.pid"
        ]

    def test_many_requests_on_one_connection(self, door, federation):
        request = post(PULL, federation.keys["alder"]).replace(b"Connection: close\r\n", b"")
        with door.connect(door.sites, federation.alder) as connection:
            for _ in range(20):
                connection.sendall(request)
                came = b""
                while not came.endswith(b"superlink"):
                    came += connection.recv(1 << 16)
        assert len(federation.superlink.came) == 20

    def test_a_request_in_absolute_form_reaches_our_superlink_alone(self, door, federation):
        request = post("https://elsewhere.example" + PULL, federation.keys["alder"])
        door.site(federation.alder, request)
        for came in federation.superlink.came:
            assert came.path == PULL
            assert "elsewhere" not in str(came.headers)


@dataclass(frozen=True)
class Attack:
    """A request that must not reach the SuperLink, and lines without which it does."""

    what: str
    held_by: str
    send: Callable[[Door, Federation], bytes]
    how: str
    weakened: tuple[tuple[str, str], ...]


ANYTHING = ("location / { return 403; }", "location / { proxy_pass https://SUPERLINK$uri; }")
AS_SENT = ("if ($request_uri != $uri) { return 403; }", "")
OWN_KEY = ("if ($its_own_node = 0) { return 403; }", "")
NO_LOOK = (("ssl_verify_client on;", "ssl_verify_client off;"),)
BEGINNING = ((f"location = {PULL} {{", f"location {PULL} {{"),)


def as_alder(path, *headers, **rest):
    return lambda door, f: door.site(f.alder, post(path, f.keys["alder"], *headers, **rest))


def as_grace(path, *headers, **rest):
    return lambda door, f: door.researcher(f.grace, post(path, None, *headers, **rest))


def with_old_tls(door, federation):
    context = federation.client(federation.grace)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with suppress(ssl.SSLError), door.connect(door.control, None, context) as connection:
        connection.sendall(post(RUNS))
        return connection.recv(1 << 16)
    return b""


def without_tls(door, _):
    with socket.create_connection(("127.0.0.1", door.control), timeout=20) as plain:
        plain.sendall(post(RUNS))
        return plain.recv(1 << 16)


def paths(what, held_by, how, weakened, *tricks):
    return [Attack(f"{what}", held_by, as_alder(trick), how, weakened) for trick in tricks]


ATTACKS = [
    Attack(
        "to come to the gateway without a certificate",
        "TLS with required certificates",
        lambda door, f: door.researcher(None, post(RUNS)),
        "asks for none",
        NO_LOOK,
    ),
    Attack(
        "to come to the gateway without TLS",
        "TLS with required certificates",
        without_tls,
        "listens without",
        (
            (
                " ssl;\n        ssl_client_certificate researchers.crt",
                ";\n        ssl_client_certificate researchers.crt",
            ),
        ),
    ),
    Attack(
        "to have another authority of the same name sign a hospital's certificate",
        "one pinned authority a port",
        lambda door, f: door.site(Authority("sites").client("alder"), post(PULL, f.keys["alder"])),
        "takes certificates of unknown authorities",
        (("ssl_verify_client on;", "ssl_verify_client optional_no_ca;"),),
    ),
    Attack(
        "to go on with an expired certificate",
        "dates",
        lambda door, f: door.researcher(f.researchers.client("grace", expired=True), post(RUNS)),
        "does not look at certificates",
        NO_LOOK,
    ),
    Attack(
        "to go on with a revoked certificate",
        "revocation lists",
        lambda door, f: door.site(f.left, post(PULL, f.keys["alder"])),
        "has no list",
        (("ssl_crl sites.crl;", ""),),
    ),
    Attack(
        "to go on with a revoked certificate",
        "revocation lists",
        lambda door, f: door.researcher(f.gone, post(RUNS)),
        "has no list",
        (("ssl_crl researchers.crl;", ""),),
    ),
    Attack(
        "to submit runs with a hospital's certificate",
        "an authority for each port",
        lambda door, f: door.researcher(f.alder, post("/v1/control/start-run")),
        "has one authority for both",
        (("researchers.crt", "both.crt"), ("researchers.crl", "both.crl")),
    ),
    Attack(
        "to pull a hospital's messages with a researcher's certificate of its name",
        "an authority for each port",
        lambda door, f: door.site(f.researchers.client("alder"), post(PULL, f.keys["alder"])),
        "has one authority for both",
        (("sites.crt", "both.crt"), ("sites.crl", "both.crl")),
    ),
    Attack(
        "to speak for another hospital's SuperNode",
        "the map from certificate to key",
        lambda door, f: door.site(f.beech, post(PULL, f.keys["alder"])),
        "has no map",
        (OWN_KEY,),
    ),
    Attack(
        "to speak for another hospital's SuperNode",
        "the map from certificate to key",
        lambda door, f: door.site(f.beech, post(PULL)),
        "has no map",
        (OWN_KEY,),
    ),
    Attack(
        "to speak for another hospital's SuperNode",
        "the map from certificate to key",
        lambda door, f: door.site(
            f.beech, post(PULL, f.keys["alder"], f"flwr-public-key: {f.keys['beech']}")
        ),
        "has no map",
        (OWN_KEY,),
    ),
    Attack(
        "to use a certificate whose name only begins like a hospital's",
        "the whole subject is compared",
        lambda door, f: door.site(f.sites.client("alder,OU=x"), post(PULL, f.keys["alder"])),
        "compares its beginning",
        (("[a-z0-9_-]*)$", "[a-z0-9_-]*)"),),
    ),
    Attack(
        "to have an older TLS spoken",
        "TLS 1.3 alone",
        with_old_tls,
        "speaks TLS 1.2",
        (("ssl_protocols TLSv1.3;", "ssl_protocols TLSv1.2 TLSv1.3;"),),
    ),
    *(
        Attack(
            "to reach what only the coordinator's own processes may",
            "an allow-list of paths",
            send(path),
            "forwards all",
            (ANYTHING,),
        )
        for send in (as_alder, as_grace)
        for path in ("/", "/docs", "/openapi.json", "/health", RUNTIME, "/v1/runtime/push-messages")
    ),
    *(
        Attack(
            "to register or unregister a SuperNode as a hospital",
            "an allow-list of paths",
            as_alder(path),
            "forwards all",
            (ANYTHING,),
        )
        for path in ("/v1/fleet/register-node", "/v1/fleet/unregister-node", *ADMINISTRATORS)
    ),
    *(
        Attack(
            "to register or unregister a SuperNode as a researcher",
            "the administrator's name",
            as_grace(path),
            "asks for no name",
            (("if ($administrator = 0) { return 403; }", ""),),
        )
        for path in ADMINISTRATORS
    ),
    *(
        Attack(
            "to make federations, automations or accounts of Flower's",
            "an allow-list of paths",
            as_grace(f"/v1/control/{path}"),
            "forwards all",
            (ANYTHING,),
        )
        for path in (
            "create-federation",
            "start-automation",
            "get-auth-tokens",
            "add-app",
            "add-node-to-federation",
        )
    ),
    *paths(
        "to write an allowed path in another way",
        "the path as it was sent",
        "takes what nginx makes of it",
        (AS_SENT,),
        "/v1/runtime/../fleet/pull-messages",
        "/v1/fleet/./pull-messages",
        "//v1/fleet/pull-messages",
        "/v1//fleet/pull-messages",
        "/v1/fleet/pull%2dmessages",
        "/v1%2ffleet/pull-messages",
        "/v1/runtime/%2e%2e/fleet/pull-messages",
        f"{PULL}?a=b",
        f"{PULL}?",
        f"{PULL}#a",
    ),
    *paths(
        "to hide a path that is not allowed in one that is",
        "an allow-list of paths",
        "forwards what nginx makes of it",
        (AS_SENT, ANYTHING),
        "/v1/fleet/../runtime/acquire-task",
        f"{PULL}/../../runtime/acquire-task",
        f"{PULL}/..%2f..%2fruntime%2facquire-task",
        f"https://localhost{RUNTIME}",
        "/v1/fleet/%2e%2e/runtime/acquire-task",
        f"{PULL}%0a",
    ),
    *paths(
        "to append something to an allowed path",
        "paths that are compared whole",
        "compares their beginnings",
        BEGINNING,
        f"{PULL}/",
        f"{PULL};a",
        f"{PULL}/acquire-task",
        f"{PULL}s",
    ),
    *paths(
        "to write an allowed path in other letters",
        "paths that are compared letter by letter",
        "knows no capitals",
        ((f"location = {PULL} {{", f"location ~* ^{PULL}$ {{"),),
        PULL.upper(),
        "/v1/Fleet/pull-messages",
    ),
    *(
        Attack(
            "to use another method",
            "POST alone",
            as_grace(RUNS, method=method),
            "takes any",
            (("if ($request_method != POST) { return 403; }", ""),),
        )
        for method in ("GET", "PUT", "DELETE", "OPTIONS", "PROPFIND")
    ),
    Attack(
        "to start a run from a page in a researcher's browser",
        "what browsers say of themselves",
        as_grace("/v1/control/start-run", "Origin: http://rebound.example:9093"),
        "does not ask",
        (('if ($http_origin != "") { return 403; }', ""),),
    ),
    Attack(
        "to fill the SuperLink's memory with headers",
        "8 KiB a header",
        as_grace(RUNS, f"a: {'b' * 30_000}"),
        "takes 64 KiB",
        (("large_client_header_buffers 4 8k;", "large_client_header_buffers 4 64k;"),),
    ),
    Attack(
        "to fill the SuperLink's memory with a body",
        "16 MiB a body",
        as_grace("/v1/control/start-run", body=bytes(17 << 20)),
        "takes any",
        (("client_max_body_size 16m;", "client_max_body_size 0;"),),
    ),
]


@pytest.mark.parametrize(
    "attack",
    [pytest.param(each, marks=pytest.mark.attack(each.what, held_by=each.held_by)) for each in ATTACKS],
    ids=lambda each: each.what,
)
def test_it_does_not_reach_the_superlink(door, federation, attack):
    answer = attack.send(door, federation)
    assert federation.superlink.came == []
    assert status(answer) in {0, 400, 403, 413}
    assert b"superlink" not in answer


@pytest.mark.parametrize(
    "attack",
    [pytest.param(each, marks=pytest.mark.mutant(each.what, each.how)) for each in ATTACKS],
    ids=lambda each: f"{each.what}, at one that {each.how}",
)
def test_a_weakened_gateway_lets_it_through(federation, attack):
    with federation.gateway(*attack.weakened) as door:
        attack.send(door, federation)
    assert federation.superlink.came


def test_what_is_refused_is_403(door, federation):
    for answer in (
        door.researcher(None, post(RUNS)),
        door.researcher(federation.gone, post(RUNS)),
        door.researcher(federation.grace, post("/docs")),
        door.site(federation.beech, post(PULL, federation.keys["alder"])),
    ):
        assert status(answer) == 403


TWO_KEYS = "to send two keys, of which one is compared and the other believed"


def keys_that_came(federation, door, *headers):
    door.site(federation.alder, post(PULL, federation.keys["alder"], *headers))
    return [
        value
        for came in federation.superlink.came
        for name, value in came.headers
        if name.replace("_", "-") == "flwr-public-key"
    ]


class TestTwoKeys:
    @pytest.mark.attack(TWO_KEYS, held_by="the key that was compared is written anew")
    @pytest.mark.parametrize(
        "name", ["flwr-public-key", "FLWR-Public-Key", "flwr_public_key", "flwr-public-key "]
    )
    def test_at_most_its_own_arrives(self, door, federation, name):
        came = keys_that_came(federation, door, f"{name}: {federation.keys['beech']}")
        assert came in ([], [federation.keys["alder"]])

    @pytest.mark.mutant(TWO_KEYS, "passes headers on as they come")
    def test_nginx_by_itself_would_pass_both_on(self, federation):
        lax = ("proxy_set_header flwr-public-key $http_flwr_public_key;", "")
        with federation.gateway(lax) as door:
            came = keys_that_came(federation, door, f"flwr-public-key: {federation.keys['beech']}")
        if nginx_version() >= (1, 23):
            pytest.skip("this nginx joins equal headers, and the map knows no two keys")
        assert federation.keys["beech"] in came

    @pytest.mark.mutant(TWO_KEYS, "takes underscores for hyphens")
    def test_with_underscores_there_would_be_a_second_one(self, federation):
        with federation.gateway(("underscores_in_headers off;", "underscores_in_headers on;")) as door:
            came = keys_that_came(federation, door, f"flwr_public_key: {federation.keys['beech']}")
        if nginx_version() >= (1, 23):
            pytest.skip("this nginx joins equal headers, and the map knows no two keys")
        assert federation.keys["beech"] in came


def nginx_version():
    said = subprocess.run([shutil.which("nginx"), "-v"], capture_output=True, text=True, check=True).stderr
    return tuple(int(part) for part in said.split("/")[1].split(".")[:2])


SMUGGLING = "to hide a second request in the body of the first"
HIDDEN = post("/v1/control/register-node")
SMUGGLED = {
    "two lengths": f"Content-Length: 0\r\nContent-Length: {len(HIDDEN)}",
    "a length and chunks": "Content-Length: 0\r\nTransfer-Encoding: chunked",
    "chunks and a length": "Transfer-Encoding: chunked\r\nContent-Length: 0",
    "chunks that are none": "Content-Length: 0\r\nTransfer-Encoding: xchunked",
    "chunks behind a tab": "Content-Length: 0\r\nTransfer-Encoding:\tchunked",
    "a space before the colon": f"Content-Length: 0\r\nContent-Length : {len(HIDDEN)}",
    "a folded line": f"Content-Length: 0\r\nA: b\r\n Content-Length: {len(HIDDEN)}",
    "a bare line feed": f"Content-Length: 0\r\nA: b\nContent-Length: {len(HIDDEN)}",
}


def smuggled(headers):
    body = f"{len(HIDDEN):x}\r\n".encode() + HIDDEN + b"\r\n0\r\n\r\n" if "chunked" in headers else HIDDEN
    return f"POST {RUNS} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n\r\n".encode() + body


class TestSmuggling:
    @pytest.mark.attack(
        SMUGGLING, held_by="a gateway that reads each request whole, and writes its length itself"
    )
    @pytest.mark.parametrize("how", SMUGGLED)
    def test_no_hidden_request_arrives(self, door, federation, how):
        door.researcher(federation.grace, smuggled(SMUGGLED[how]))
        assert {came.path for came in federation.superlink.came} <= {RUNS}

    @pytest.mark.mutant(SMUGGLING, "carries bytes and does not read them")
    def test_without_a_gateway_that_reads_it_would(self, federation):
        federation.superlink.came.clear()
        context = ssl.create_default_context(cadata=federation.inside.pem.decode())
        with (
            socket.create_connection((federation.superlink.host, federation.superlink.port)) as plain,
            context.wrap_socket(plain, server_hostname="superlink") as connection,
        ):
            connection.sendall(smuggled("Content-Length: 0"))
            answers = b""
            while answers.count(b"superlink") < 2:
                answers += connection.recv(1 << 16)
        assert "/v1/control/register-node" in {came.path for came in federation.superlink.came}


STANDS_IN = "to stand in for the SuperLink on the coordinator's inner network"


def told_to_another(federation, *weakened):
    """What reaches somebody at the SuperLink's address who has not its key."""
    federation.superlink.show(self_signed("superlink"))
    try:
        with federation.gateway(*weakened) as door:
            answer = door.researcher(federation.grace, post("/v1/control/start-run"))
    finally:
        federation.superlink.show(federation.inside)
    return status(answer), federation.superlink.came


@pytest.mark.attack(STANDS_IN, held_by="one certificate, which the gateway knows")
def test_nothing_is_said_to_another_superlink(federation):
    assert told_to_another(federation) == (502, [])


@pytest.mark.mutant(STANDS_IN, "believes any certificate")
def test_a_gateway_that_does_not_look_tells_it_all(federation):
    assert told_to_another(federation, ("proxy_ssl_verify on;", "proxy_ssl_verify off;"))[1]


RESUMED = "to come back by a session of before the revocation"


def comes_back(door, federation):
    """Whether a second connection is believed for the first one's sake."""
    context = federation.client(federation.grace)
    with door.connect(door.control, None, context) as first:
        first.sendall(post(RUNS))
        while first.recv(1 << 16):
            pass
        session = first.session
    with door.connect(door.control, None, context, session) as second:
        second.sendall(post(RUNS))
        second.recv(1 << 16)
        return second.session_reused


@pytest.mark.attack(RESUMED, held_by="no sessions and no tickets")
def test_no_session_is_resumed(door, federation):
    assert not comes_back(door, federation)


@pytest.mark.mutant(RESUMED, "hands out tickets")
def test_with_tickets_it_would_be(federation):
    with federation.gateway(("ssl_session_tickets off;", ""), ("ssl_session_cache off;", "")) as door:
        assert comes_back(door, federation)


class TestRunning:
    def test_it_runs_as_nobody_and_writes_to_one_folder_alone(self, door, federation):
        assert door.process.poll() is None
        if os.geteuid() == 0:
            assert Path(f"/proc/{door.process.pid}").stat().st_uid == NOBODY

    def test_its_log_is_lines_of_json_without_queries(self, door, federation):
        door.site(federation.alder, post(PULL, federation.keys["alder"], body=b"patient 4711"))
        door.researcher(federation.grace, post('/v1/control/x"\x01?token=s3cret'))
        door.researcher(federation.gone, post(RUNS))
        end = time.monotonic() + 10
        while (
            len(lines := (federation.folder / "out").read_text().splitlines()) < 3 and time.monotonic() < end
        ):
            time.sleep(0.05)
        told = [json.loads(line) for line in lines]
        assert [(each["who"], each["status"]) for each in told if each["path"] == PULL] == [("alder", "200")]
        assert "FAILED:certificate revoked" in {each["verified"] for each in told}
        for written in ("out", "err"):
            text = (federation.folder / written).read_text()
            assert "4711" not in text
            assert "s3cret" not in text

    def test_who_is_revoked_is_out_after_a_signal(self, federation):
        leaving = federation.sites.client("beech")
        before = (federation.folder / "sites.crl").read_bytes()
        with federation.gateway() as door:
            request = post(PULL, federation.keys["beech"])
            assert status(door.site(leaving, request)) == 200
            federation.sites.revoke(leaving)
            (federation.folder / "sites.crl").write_bytes(federation.sites.crl)
            door.process.send_signal(signal.SIGHUP)
            end = time.monotonic() + 10
            while status(door.site(leaving, request)) == 200 and time.monotonic() < end:
                time.sleep(0.05)
            assert status(door.site(leaving, request)) == 403
            assert status(door.site(federation.alder, post(PULL, federation.keys["alder"]))) == 200
        (federation.folder / "sites.crl").write_bytes(before)
        federation.sites.revoked.remove(leaving)

    def test_and_on_the_connection_that_was_open(self, door, federation):
        request = post(PULL, federation.keys["alder"]).replace(b"Connection: close\r\n", b"")
        with door.connect(door.sites, federation.alder) as connection:
            connection.sendall(request)
            assert connection.recv(1 << 16)
            door.process.send_signal(signal.SIGHUP)
            with suppress(ssl.SSLError, ConnectionError):
                assert connection.recv(1 << 16) == b""

    def test_it_starts_before_the_superlink_and_finds_it_again_elsewhere(self, federation):
        names = NameServer()
        port = free_port()
        resolver = f"127.0.0.1:{names.port}"
        with federation.gateway(superlink=f"superlink:{port}", resolver=resolver) as door:
            assert status(door.researcher(federation.grace, post(RUNS))) == 502
            for address in ("127.0.0.1", "127.0.0.2"):
                superlink = SuperLink(federation.inside, address, port)
                names.address = address
                end = time.monotonic() + 20
                while status(door.researcher(federation.grace, post(RUNS))) != 200:
                    assert time.monotonic() < end
                    time.sleep(0.3)
                assert superlink.came
                superlink.close()
        names.close()
