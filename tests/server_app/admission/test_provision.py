"""What a coordinator's folder is made of."""

import shutil
import ssl
import stat
import subprocess
from datetime import timedelta

import pytest
from cryptography import x509

from federation.certificates import is_authority, names_of, public_bytes, read_private_key
from federation.errors import ConfigError, DataError
from server_app.admission.folder import Folder, provision
from server_app.admission.settings import read_settings
from server_app.gateway import ADMINISTRATOR

FILES = [
    *("administrator/client.crt", "administrator/client.key", "administrator/coordinator.crt"),
    "authority/admitted.json",
    *("authority/coordinator.crt", "authority/coordinator.key"),
    *("authority/researchers.crt", "authority/researchers.key"),
    *("authority/sites.crt", "authority/sites.key"),
    "federation.yaml",
    *("gateway/nginx.conf", "gateway/nodes.map"),
    *("gateway/researchers.crl", "gateway/researchers.crt"),
    *("gateway/server.crt", "gateway/server.key"),
    *("gateway/sites.crl", "gateway/sites.crt", "gateway/superlink.crt"),
    *("superlink/inside.crt", "superlink/inside.key", "superlink/launcher.secret"),
]


def files(path):
    return sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())


def read(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


def verified(authority, certificate, *options):
    """What ``openssl verify`` says."""
    told = subprocess.run(
        ["openssl", "verify", "-CAfile", authority, *options, certificate],
        capture_output=True,
        text=True,
        check=False,
    )
    return told.returncode == 0


class TestProvision:
    def test_the_folder_has_exactly_these_files(self, folder):
        assert files(folder.path) == FILES

    def test_secrets_are_for_their_owner_alone(self, folder):
        secrets = [
            *folder.path.rglob("*.key"),
            *folder.path.rglob("*.secret"),
            folder.authority / "admitted.json",
        ]
        assert len(secrets) == 8
        for file in secrets:
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
        for path in (folder.path, folder.authority, folder.gateway, folder.superlink, folder.administrator):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700

    def test_nothing_but_the_gateways_own_key_is_where_nginx_reads(self, folder):
        assert [file.name for file in folder.gateway.glob("*.key")] == ["server.key"]

    def test_three_authorities_sign_for_one_kind_of_certificate_each(self, folder, now):
        authorities = [folder.authority / f"{role}.crt" for role in ("coordinator", "sites", "researchers")]
        assert all(is_authority(read(file)) for file in authorities)
        assert len({read(file).subject for file in authorities}) == 3
        at = ["-attime", str(int(now.timestamp()))]
        server, client = folder.gateway / "server.crt", folder.administrator / "client.crt"
        for authority in authorities:
            assert verified(authority, server, *at) == (authority.stem == "coordinator")
            assert verified(authority, client, *at) == (authority.stem == "researchers")

    def test_certificates_are_for_their_purpose_and_name(self, folder, now):
        at = ["-attime", str(int(now.timestamp()))]
        coordinator, server = folder.authority / "coordinator.crt", folder.gateway / "server.crt"
        assert verified(
            coordinator, server, *at, "-purpose", "sslserver", "-verify_hostname", "wardround.example"
        )
        assert not verified(coordinator, server, *at, "-purpose", "sslclient")
        assert not verified(coordinator, server, *at, "-verify_hostname", "mallory.example")
        researchers, client = folder.authority / "researchers.crt", folder.administrator / "client.crt"
        assert verified(researchers, client, *at, "-purpose", "sslclient")
        assert not verified(researchers, client, *at, "-purpose", "sslserver")

    def test_no_member_can_have_the_administrators_name(self, folder, make_request):
        assert read(folder.administrator / "client.crt").subject.rfc4514_string() == f"CN={ADMINISTRATOR}"
        with pytest.raises(ValueError, match="name"):
            make_request(ADMINISTRATOR)

    @pytest.mark.parametrize("name", ["superlink", "localhost"])
    def test_the_gateway_knows_the_superlink(self, name, folder, now):
        known, shown = folder.gateway / "superlink.crt", folder.superlink / "inside.crt"
        at = ["-attime", str(int(now.timestamp()))]
        assert verified(known, shown, *at, "-purpose", "sslserver", "-verify_hostname", name)

    def test_keys_fit_their_certificates(self, folder):
        for certificate in folder.path.rglob("*.crt"):
            key = certificate.with_suffix(".key")
            if key.exists():
                public = read_private_key(key).public_key()
                assert public_bytes(public) == public_bytes(read(certificate).public_key())

    def test_an_address_may_be_a_number(self, tmp_path, now):
        file = tmp_path / "numbers.yaml"
        file.write_text("name: lungs\naddress: 10.1.2.3\n")
        made = provision(file, tmp_path / "numbers", now)
        names = names_of(read(made.gateway / "server.crt"))
        assert [str(name) for name in names.get_values_for_type(x509.IPAddress)] == ["10.1.2.3"]

    def test_a_folder_that_is_there_is_left_as_it_is(self, folder, settings_file, now):
        before = {file: (folder.path / file).read_bytes() for file in files(folder.path)}
        with pytest.raises(ConfigError, match="is there already; name another folder"):
            provision(settings_file, folder.path, now)
        assert {file: (folder.path / file).read_bytes() for file in files(folder.path)} == before

    def test_with_force_it_is_moved_aside_and_lost_to_nobody(self, folder, settings_file, now):
        old = (folder.authority / "sites.key").read_bytes()
        made = provision(settings_file, folder.path, now, force=True)
        assert (made.authority / "sites.key").read_bytes() != old
        (aside,) = folder.path.parent.glob("coordinator.before-*")
        assert (aside / "authority/sites.key").read_bytes() == old

    def test_killed_anywhere_there_is_no_half_of_a_folder(self, tmp_path, settings_file, now, killed_at):
        step, died = 0, True
        while died:
            step += 1
            to = tmp_path / str(step)
            with killed_at(step) as died:
                provision(settings_file, to, now)
            assert not to.exists() or files(to) == FILES
        assert step > 40

    def test_where_it_fails_no_key_is_left_behind(self, tmp_path, settings_file, now, monkeypatch):
        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("pathlib.Path.rename", full)
        with pytest.raises(Exception, match="No space left"):
            provision(settings_file, tmp_path / "new", now)
        assert list(tmp_path.rglob("*.key")) == []


class TestRefresh:
    def test_the_coordinators_own_certificates_are_renewed_before_they_expire(self, folder, now):
        before = folder.own_certificates
        folder.refresh(now + timedelta(days=300))
        assert folder.own_certificates == before
        folder.refresh(now + timedelta(days=310))
        after = folder.own_certificates
        assert all(after[who].expires > before[who].expires for who in before)
        assert all(after[who].key == before[who].key for who in before)

    def test_another_address_gets_another_certificate(self, folder, now):
        (folder.path / "federation.yaml").write_text("name: lungs\naddress: elsewhere.example\n")
        folder.refresh(now)
        names = names_of(read(folder.gateway / "server.crt"))
        assert names.get_values_for_type(x509.DNSName) == ["elsewhere.example"]

    def test_another_superlink_gets_another_certificate(self, folder, now):
        (folder.path / "federation.yaml").write_text(
            "name: lungs\naddress: wardround.example\nsuperlink: 10.0.0.7:8000\n"
        )
        folder.refresh(now)
        names = names_of(read(folder.superlink / "inside.crt"))
        assert [str(name) for name in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.7", "127.0.0.1"]
        assert (folder.gateway / "superlink.crt").read_bytes() == (
            folder.superlink / "inside.crt"
        ).read_bytes()

    def test_a_key_that_was_lost_gets_another_certificate(self, folder, now):
        for lost in (folder.gateway / "server.key", folder.administrator / "client.key"):
            lost.unlink()
            folder.refresh(now)
            certificate = read(lost.with_suffix(".crt"))
            assert public_bytes(read_private_key(lost).public_key()) == public_bytes(certificate.public_key())

    def test_what_follows_from_the_book_is_made_anew_where_it_was_lost(self, folder, now):
        shutil.rmtree(folder.gateway)
        folder.refresh(now)
        assert files(folder.path) == FILES
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            folder.gateway / "server.crt", folder.gateway / "server.key"
        )

    def test_an_authority_whose_key_was_exchanged_signs_nothing(self, folder, now):
        shutil.copy(folder.authority / "researchers.key", folder.authority / "sites.key")
        with pytest.raises(DataError, match=r"sites.key is not the key of .*sites.crt"):
            folder.refresh(now)

    def test_another_folder_is_refused(self, tmp_path):
        with pytest.raises(ConfigError, match="is no coordinator's folder"), Folder(tmp_path).changing():
            pass


class TestSettings:
    def test_name_and_address_are_enough(self, settings_file):
        settings = read_settings(settings_file)
        assert (settings.sites_port, settings.control_port) == (8443, 8444)
        assert (settings.superlink, settings.days) == ("superlink:8000", 365)
        assert settings.control == "wardround.example:8444"

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            ("name: lungs\n", "address is missing"),
            ("name: lungs\naddress: a b\n", "address='a b'"),
            ("name: lungs\naddress: a\nsites_port: 8444\n", "sites_port and control_port are both 8444"),
            ("name: lungs\naddress: a\nport: 8444\n", "port is not a setting"),
            ("name: lungs\naddress: a\nsuperlink: 'x; return 200;:80'\n", "superlink="),
            ("name: Lungs\naddress: a\n", "name='Lungs'"),
            ("name: [\n", "federation.yaml: while parsing"),
            ("", "federation.yaml: Input should be"),
        ],
    )
    def test_what_is_wrong_is_named(self, content, reason, settings_file):
        settings_file.write_text(content)
        with pytest.raises(ConfigError) as refused:
            read_settings(settings_file)
        assert reason in str(refused.value)
        assert str(settings_file) in str(refused.value)

    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(ConfigError, match=r"none.yaml cannot be read"):
            read_settings(tmp_path / "none.yaml")
