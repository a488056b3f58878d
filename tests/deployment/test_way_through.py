"""From a hospital and from a researcher, through their own tunnel and the coordinator's gateway."""

import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
from base64 import b64encode
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from certificates import Authority, public_pem
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from gateway_at_work import Federation, free_port, free_ports

pytestmark = [
    pytest.mark.deployment,
    pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed"),
]
ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = {
    "researcher": "from server_app.commands.tunnel import tunnel as command",
    "site": "from client_app.commands.gateway import gateway as command",
}


@dataclass(frozen=True)
class Tunnel:
    """A running tunnel, and the authority of its inner side."""

    port: int
    log: Path
    inside: bytes

    def client(self, kind):
        if kind == "researcher":
            return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=20, trust_env=False)
        context = ssl.create_default_context(cadata=self.inside.decode())
        url = f"https://localhost:{self.port}"
        return httpx.Client(base_url=url, timeout=20, trust_env=False, verify=context)

    def complaints(self):
        return [line for line in self.log.read_text().splitlines() if "WARNING" in line]


@contextmanager
def tunnel(folder, kind, federation, door, pair):
    folder.mkdir()
    inside = Authority("inside")
    inside.server("localhost", "127.0.0.1").write(folder, "inside")
    (folder / "inside-authority.crt").write_bytes(inside.pem)
    (folder / "coordinator.crt").write_bytes(federation.coordinator.pem)
    pair.write(folder, "client")
    values = {"name": "alder", "kind": kind, "federation": "lung", "address": "localhost"}
    values |= {"sites_port": door.sites, "control_port": door.control}
    (folder / "connection.json").write_text(json.dumps(values))
    port, log = free_port(), folder / "log"
    command = [sys.executable, "-c", f"{PROGRAMS[kind]}\ncommand()", "--connection", folder]
    with log.open("wb") as err, running([*command, "--listen", f"127.0.0.1:{port}"], err, ROOT) as process:
        until(lambda: " leads to " in log.read_text(), process)
        yield Tunnel(port, log, inside.pem)


@contextmanager
def running(command, log, folder, **environment):
    environment = os.environ | {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"} | environment
    with subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=environment) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()


def until(holds, process=None, seconds=60):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        assert process is None or process.poll() is None
        time.sleep(0.1)


@pytest.fixture
def federation():
    with Federation.standing() as made:
        yield made


@pytest.fixture
def door(federation):
    with federation.gateway() as opened:
        yield opened


class TestBytes:
    def test_a_researchers_run_arrives_and_its_log_comes_as_it_is_written(self, door, federation, tmp_path):
        bundle = os.urandom(10_000_000)
        federation.superlink.more.clear()
        with (
            tunnel(tmp_path / "grace", "researcher", federation, door, federation.grace) as way,
            way.client("researcher") as client,
        ):
            assert client.post("/v1/control/start-run", content=bundle).content == b"superlink"
            assert federation.superlink.came[0].body == bundle
            with client.stream("POST", "/v1/control/stream-logs") as stream:
                pieces = stream.iter_raw()
                assert next(pieces) == b"first"
                federation.superlink.more.set()
                assert b"".join(pieces) == b"second"
            assert client.post("/v1/control/register-node").status_code == 403
        assert way.complaints() == []

    def test_a_hospitals_pieces_arrive_and_nothing_in_another_ones_name(self, door, federation, tmp_path):
        piece = os.urandom(5_300_000)
        federation.superlink.answer = piece
        own, others = ({"flwr-public-key": federation.keys[name]} for name in ("alder", "beech"))
        with (
            tunnel(tmp_path / "alder", "site", federation, door, federation.alder) as way,
            way.client("site") as client,
        ):
            for _ in range(20):
                answer = client.post("/v1/fleet/push-object", content=piece, headers=own)
                assert (answer.status_code, answer.content) == (200, piece)
            assert client.post("/v1/fleet/push-object", headers=others).status_code == 403
            assert client.post("/v1/control/list-runs", headers=own).status_code == 403
        assert way.complaints() == []

    def test_where_the_coordinator_starts_again_the_next_request_finds_it(self, federation, tmp_path):
        ports = dict(zip(("sites_port", "control_port"), free_ports(2), strict=True))
        with ExitStack() as stack:
            with federation.gateway(**ports) as door:
                way = stack.enter_context(
                    tunnel(tmp_path / "grace", "researcher", federation, door, federation.grace)
                )
                client = stack.enter_context(way.client("researcher"))
                assert client.post("/v1/control/list-runs").status_code == 200
            with pytest.raises(httpx.TransportError):
                client.post("/v1/control/list-runs")
            with federation.gateway(**ports):
                assert client.post("/v1/control/list-runs").status_code == 200


class TestFlower:
    """The installed flwr, which knows neither of the gateways."""

    @pytest.fixture
    def superlink(self, federation, tmp_path):
        port = free_port()
        federation.inside.write(tmp_path / "inside", "superlink")
        command = [program("flower-superlink"), "--host", "127.0.0.1", "--port", str(port)]
        command += ["--ssl-certfile", "inside/superlink.crt", "--ssl-keyfile", "inside/superlink.key"]
        command += ["--ssl-ca-certfile", "inside/superlink.crt"]
        options = ["--enable-supernode-auth", "--isolation", "process", "--superexec-auth-secret-file"]
        (tmp_path / "secret").write_text("0" * 64)
        (tmp_path / "superlink").mkdir()
        home = {"FLWR_HOME": str(tmp_path / "superlink")}
        with (tmp_path / "superlink.log").open("wb") as log:
            command = [*command, *options, str(tmp_path / "secret"), "--database", str(tmp_path / "state.db")]
            with running(command, log, tmp_path, **home) as process:
                until(lambda: answers(port, federation.inside.pem), process)
                yield f"127.0.0.1:{port}"

    def test_nodes_come_online_and_runs_are_started_and_stopped(self, superlink, federation, tmp_path):
        key = ec.generate_private_key(ec.SECP384R1())
        (tmp_path / "node.key").write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        )
        (tmp_path / "node.key").chmod(0o600)
        public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        (tmp_path / "node.key.pub").write_bytes(public)
        header = b64encode(public_pem(key)).decode()
        (federation.folder / "nodes.map").write_text(f'"alder:{header}" 1;\n')
        with ExitStack() as stack:
            door = stack.enter_context(federation.gateway(superlink=superlink))
            ways = {
                name: stack.enter_context(tunnel(tmp_path / name, kind, federation, door, pair))
                for name, kind, pair in (
                    ("grace", "researcher", federation.grace),
                    ("administrator", "researcher", federation.administrator),
                    ("alder", "site", federation.alder),
                )
            }
            assert not flwr(tmp_path, ways["grace"], "supernode", "register", "node.key.pub")["success"]
            assert flwr(tmp_path, ways["administrator"], "supernode", "register", "node.key.pub")["success"]
            node = [program("flower-supernode"), "--superlink", f"localhost:{ways['alder'].port}"]
            node += ["--root-certificates", str(tmp_path / "alder" / "inside-authority.crt")]
            node += ["--auth-supernode-private-key", "node.key", "--port", str(free_port())]
            node += ["--isolation", "process", "--superexec-auth-secret-file", "secret"]
            log = stack.enter_context((tmp_path / "supernode.log").open("wb"))
            home = {"FLWR_HOME": str(tmp_path / "supernode")}
            process = stack.enter_context(running(node, log, tmp_path, **home))

            def online():
                nodes = flwr(tmp_path, ways["grace"], "supernode", "list").get("nodes", [])
                return [each["status"] for each in nodes] == ["online"]

            until(online, process)
            assert flwr(tmp_path, ways["grace"], "federation", "list")["federations"]
            run = flwr(tmp_path, ways["grace"], "run", str(app(tmp_path / "app")))["run-id"]
            assert flwr(tmp_path, ways["grace"], "stop", run)["success"]
            (told,) = flwr(tmp_path, ways["grace"], "ls")["runs"]
            assert (told["run-id"], told["status"]) == (run, "finished:stopped")
            assert "403" in flwr(tmp_path, ways["grace"], "federation", "create", "mine")["error-message"]


def app(folder):
    """The least that flwr takes for an app."""
    folder.mkdir()
    (folder / "app.py").write_text("app = None\n")
    (folder / "LICENSE").write_text("Anybody may.\n")
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "least"\nversion = "0"\ndescription = ""\nlicense = { file = "LICENSE" }\n'
        'dependencies = ["flwr>=1.41"]\n'
        '[tool.flwr.app]\npublisher = "grace"\nfab-format-version = 1\nflwr-version-target = "1.41.0"\n'
        '[tool.flwr.app.components]\nserverapp = "app:app"\nclientapp = "app:app"\n'
    )
    return folder


def program(name):
    return str(Path(sys.executable).with_name(name))


def answers(port, authority):
    context = ssl.create_default_context(cadata=authority.decode())
    with suppress(httpx.TransportError):
        url = f"https://localhost:{port}/health"
        return httpx.get(url, trust_env=False, verify=context).status_code == 200
    return False


def flwr(folder, way, *words):
    """What the command says, as JSON."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "hub"\n[superlink.hub]\naddress = "127.0.0.1:{way.port}"\ninsecure = true\n'
    )
    environment = os.environ | {
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
    }
    command = [program("flwr"), *words, *(["hub"] if words[1:2] != ("create",) else []), "--format", "json"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    said = done.stdout
    return (
        json.loads(said[said.index("{") :]) if "{" in said else {"success": False, "said": said + done.stderr}
    )
