"""The SuperLink knows whom the book has, and nobody else."""

import contextlib
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from federation.admission import node_pem
from federation.certificates import new_key, utc_now
from federation.errors import DataError, RefusedError, RunError
from server_app.admission.folder import provision
from server_app.admission.members import admit, revoke
from server_app.admission.superlink_client import Node, SuperLink
from server_app.admission.sync import sync_superlink, synced


class Memory:
    """A SuperLink's book of nodes, which never takes a key twice."""

    def __init__(self):
        self.known = {}

    def nodes(self):
        return tuple(self.known.values())

    def register(self, key, name):
        if key in self.known:
            raise RefusedError("node-key-revoked", "already in use")
        self.known[key] = Node(len(self.known) + 1, key, gone=False)

    def unregister(self, node):
        self.known[node.key] = Node(node.number, node.key, gone=True)

    @property
    def connecting(self):
        return {key for key, node in self.known.items() if not node.gone}


class TestSynced:
    def test_who_is_admitted_is_registered_once(self):
        superlink = Memory()
        assert synced(superlink, {"a": "alder", "b": "beech"}) == (("alder", "beech"), 0, ())
        assert synced(superlink, {"a": "alder", "b": "beech"}) == ((), 0, ())
        assert superlink.connecting == {"a", "b"}

    def test_who_is_not_is_unregistered_whoever_it_is(self):
        superlink = Memory()
        synced(superlink, {"a": "alder", "b": "beech"})
        superlink.register("c", "stranger")
        assert synced(superlink, {"b": "beech"}) == ((), 2, ())
        assert superlink.connecting == {"b"}

    def test_a_key_that_was_unregistered_is_told_and_stops_nobody_else(self):
        superlink = Memory()
        synced(superlink, {"a": "alder"})
        synced(superlink, {})
        assert synced(superlink, {"a": "alder", "b": "beech"}) == (("beech",), 0, ("alder",))

    def test_a_key_that_is_used_where_one_cannot_see_it_is_told(self):
        class Blind(Memory):
            def nodes(self):
                return ()

        superlink = Blind()
        superlink.register("a", "alder")
        assert synced(superlink, {"a": "alder", "b": "beech"}) == (("beech",), 0, ("alder",))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def local(tmp_path):
    """A coordinator on this machine, whose gateway is not there."""
    file = tmp_path / "federation.yaml"
    file.write_text(f"name: lungs\naddress: 127.0.0.1\ncontrol_port: {free_port()}\n")
    return provision(file, tmp_path / "coordinator", utc_now())


class TestNobodyThere:
    def test_it_is_said_who_does_not_answer(self, local):
        with pytest.raises(RunError, match=f"the SuperLink at {local.settings.control} does not answer"):
            sync_superlink(local)

    def test_an_administrator_without_a_certificate_is_told(self, local):
        (local.administrator / "client.crt").unlink()
        with pytest.raises(DataError, match="has no certificate that can be used"):
            sync_superlink(local)


@pytest.fixture
def start_superlink(tmp_path, monkeypatch):
    """Flower's own, which shows the certificate of a coordinator's gateway."""
    monkeypatch.setenv("FLWR_HOME", str(tmp_path / "flwr"))
    monkeypatch.setenv("FLWR_TELEMETRY_ENABLED", "0")
    monkeypatch.setenv("FLWR_DISABLE_UPDATE_CHECK", "1")
    with contextlib.ExitStack() as stack:

        def start(folder):
            gateway = folder.gateway
            process = subprocess.Popen(
                [
                    Path(sys.executable).with_name("flower-superlink"),
                    *("--ssl-certfile", gateway / "server.crt", "--ssl-keyfile", gateway / "server.key"),
                    *("--ssl-ca-certfile", folder.administrator / "coordinator.crt"),
                    *("--isolation", "process", "--enable-supernode-auth"),
                    "--disable-runtime-dependency-installation",
                    *("--host", "127.0.0.1", "--port", str(folder.settings.control_port)),
                ],
                cwd=tmp_path,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
            give_up = time.monotonic() + 60
            while process.poll() is None and time.monotonic() < give_up:
                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", folder.settings.control_port)).close()
                    return
                time.sleep(0.1)
            pytest.fail("the SuperLink did not start")

        yield start


@pytest.mark.deployment
class TestFlowersOwn:
    def test_it_does_what_is_relied_on(self, local, start_superlink, make_request):
        start_superlink(local)
        now, node = utc_now(), new_key()
        admit(local, make_request("alder", node), now)
        admit(local, make_request("beech", new_key(), identity="b2" * 32), now)
        assert sync_superlink(local) == (("alder", "beech"), 0, ())
        assert sync_superlink(local) == ((), 0, ())
        revoke(local, "alder", "stolen", now)
        assert sync_superlink(local) == ((), 1, ())
        key = node_pem(node.public_key())
        with SuperLink(local.settings.control, local.administrator) as superlink:
            assert {other.gone for other in superlink.nodes()} == {True, False}
            assert next(other for other in superlink.nodes() if other.key == key).gone
            with pytest.raises(RefusedError, match="wardround-site init --force"):
                superlink.register(key, "alder")
            with pytest.raises(RunError, match="refuses"):
                superlink.unregister(Node(1, key, gone=False))

    def test_another_server_is_not_talked_to(self, local, start_superlink, tmp_path):
        file = tmp_path / "other.yaml"
        file.write_text((local.path / "federation.yaml").read_text())
        start_superlink(provision(file, tmp_path / "other", utc_now()))
        with pytest.raises(RunError, match=r"does not answer .*certificate verify failed"):
            sync_superlink(local)
