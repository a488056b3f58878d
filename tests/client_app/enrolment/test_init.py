"""What ``wardround-site init`` makes, once, and for whom."""

import json
import socket
import ssl
import stat
import threading
from argparse import Namespace

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.supercore.auth import load_superexec_auth_secret
from flwr.supernode.cli.flower_supernode import _try_setup_client_authentication

from client_app.cli import commands
from client_app.custodian.keys import KEY_FILES, SiteKeys, key_file
from client_app.enrolment.site import SiteEnrolment
from federation.admission import read_request
from federation.certificates import public_bytes
from federation.errors import ConfigError, DataError, StorageError

SECRETS = ("node.key", "inside.key", "launcher.secret")


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def handshake(certificate, key, authority, name):
    """Raises where a client that trusts ``authority`` alone does not believe that a server is ``name``."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, key)
    trusting = ssl.create_default_context(cafile=str(authority))
    ours, theirs = socket.socketpair()

    def serve():
        with serving.wrap_socket(theirs, server_side=True, do_handshake_on_connect=False) as server:
            try:
                server.do_handshake()
                server.recv(1)
            except (OSError, ssl.SSLError):
                pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with trusting.wrap_socket(ours, server_hostname=name) as client:
            client.send(b"x")
    finally:
        thread.join()


class TestInit:
    def test_the_request_is_of_the_keys_that_lie_there(self, alder, service):
        request = alder.init("alder", service)
        assert read_request(alder.request) == request
        assert request.identity.key == SiteKeys.found_in(service).public
        node = load_ssh_private_key(alder.node_key.read_bytes(), None)
        assert isinstance(node.curve, ec.SECP384R1)
        assert public_bytes(request.node) == public_bytes(node.public_key())

    def test_secrets_are_for_their_owner_alone_and_none_is_in_the_request(self, alder, service):
        alder.init("alder", service)
        keys = [alder.folder / name for name in SECRETS]
        keys += list(alder.folder.glob("clients/*/client.key"))
        assert len(keys) == 4
        for key in keys:
            assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert stat.S_IMODE(alder.folder.stat().st_mode) == 0o700
        assert "PRIVATE" not in alder.request.read_text()

    def test_flower_reads_the_node_key_and_the_launchers_secret(self, alder, service):
        request = alder.init("alder", service)
        arguments = Namespace(auth_supernode_private_key=str(alder.node_key), auth_supernode_public_key=None)
        _, public = _try_setup_client_authentication(arguments)
        assert public_bytes(public) == public_bytes(request.node)
        assert len(load_superexec_auth_secret(str(alder.launcher_secret))) == 32

    @pytest.mark.parametrize("name", ["gateway", "localhost", "127.0.0.1"])
    def test_the_supernode_believes_the_site_gateway(self, name, alder, service):
        alder.init("alder", service)
        certificate, key = alder.folder / "inside.crt", alder.folder / "inside.key"
        handshake(certificate, key, certificate, name)
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(certificate, key, certificate, "coordinator")

    def test_a_custodian_that_has_keys_keeps_them(self, alder, service):
        keys = SiteKeys.kept_in(service)
        before = contents(service)
        assert alder.init("alder", service).identity.key == keys.public
        assert contents(service) == before

    @pytest.mark.parametrize("lost", KEY_FILES)
    def test_a_custodian_that_has_served_and_lost_a_key_gets_no_other(self, lost, alder, service):
        SiteKeys.kept_in(service)
        (service / "ledger.sqlite").touch()
        key_file(service, lost).unlink()
        with pytest.raises(DataError, match=rf"{lost} cannot be read .* restore it"):
            alder.init("alder", service)
        assert not key_file(service, lost).exists()

    def test_what_was_made_is_not_made_again(self, alder, service):
        alder.init("alder", service)
        before = contents(alder.folder)
        with pytest.raises(ConfigError, match=r"has request.json already; send that"):
            alder.init("alder", service)
        assert contents(alder.folder) == before

    def test_force_makes_a_new_node_key_for_the_same_custodian(self, alder, service):
        before = alder.init("alder", service)
        after = alder.init("alder", service, force=True)
        assert after.node_key != before.node_key
        assert after.certificate_request != before.certificate_request
        assert after.identity == before.identity

    def test_a_folder_that_cannot_be_made_is_named(self, tmp_path, service):
        (tmp_path / "file").touch()
        with pytest.raises(StorageError, match=r"file/connection cannot be made \(Not a directory\)"):
            SiteEnrolment(tmp_path / "file/connection").init("alder", service)

    def test_cut_short_anywhere_it_goes_on_and_keeps_what_it_has(self, tmp_path, killed_at):
        step, died = 0, True
        while died:
            step += 1
            alder, service = SiteEnrolment(tmp_path / f"{step}"), tmp_path / f"{step}-service"
            with killed_at(step) as died:
                alder.init("alder", service)
            made = {
                path: path.read_bytes() for path in (alder.node_key, alder.launcher_secret) if path.exists()
            }
            if not alder.request.exists():
                alder.init("alder", service)
            assert {path: path.read_bytes() for path in made} == made
            node = load_ssh_private_key(alder.node_key.read_bytes(), None)
            assert public_bytes(read_request(alder.request).node) == public_bytes(node.public_key())
            inside = alder.folder / "inside.crt"
            handshake(inside, alder.folder / "inside.key", inside, "gateway")
        assert step > 20


class TestRenew:
    def test_node_key_and_identity_stay(self, alder, service):
        before = alder.init("alder", service)
        after = alder.renew("alder", service)
        assert (after.node_key, after.identity) == (before.node_key, before.identity)
        assert after.certificate_request != before.certificate_request

    def test_there_must_be_something_to_renew(self, alder, service):
        with pytest.raises(ConfigError, match="leave --renew out the first time"):
            alder.renew("alder", service)

    def test_it_is_refused_for_another_hospital(self, alder, service):
        alder.init("alder", service)
        with pytest.raises(ConfigError, match="is of alder, and the config of beech"):
            alder.renew("beech", service)

    def test_a_lost_node_key_is_named(self, alder, service):
        alder.init("alder", service)
        alder.node_key.write_text("nonsense")
        with pytest.raises(DataError, match=r"node.key is no private key as OpenSSH writes it"):
            alder.renew("alder", service)


class TestCommand:
    @pytest.fixture
    def typed(self, tmp_path, write_hospital):
        file = write_hospital(tmp_path)

        def run(*arguments):
            return CliRunner().invoke(commands, ["init", "--config", str(file), *arguments])

        return run

    def test_it_says_the_words_and_where_the_request_is(self, typed, alder):
        result = typed("--to", str(alder.folder))
        assert result.exit_code == 0, result.output
        assert result.output == f"alder: {read_request(alder.request).words}\n{alder.request}\n"
        assert json.loads(alder.request.read_text())["name"] == "alder"

    def test_renew_and_force_contradict_each_other(self, typed, alder):
        result = typed("--to", str(alder.folder), "--renew", "--force")
        assert isinstance(result.exception, ConfigError)
        assert not alder.folder.exists()

    def test_renewing_says_other_words(self, typed, alder):
        first = typed("--to", str(alder.folder)).output
        assert typed("--to", str(alder.folder), "--renew").output != first
