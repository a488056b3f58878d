"""What strangers send is bounded, of who it says, and told apart by its words."""

import json
import random
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import ValidationError

from federation import admission
from federation.admission import (
    MOST_BYTES,
    Connection,
    Kit,
    Request,
    read_connection,
    read_kit,
    read_request,
    ssh_public,
)
from federation.certificates import (
    HASH,
    certificate_builder,
    certificate_pem,
    key_usage,
    named,
    new_key,
    public_bytes,
    request_pem,
)
from federation.errors import DataError
from federation.record_files import write_record
from federation.secure_sum.roster import SiteKey

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CLIENT, NODE, AUTHORITY, OTHER = new_key(), new_key(), new_key(), new_key()


def csr(subject=None, key=CLIENT, name="alder"):
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        named(name) if subject is None else subject
    )
    return builder.sign(key, hashes.SHA384()).public_bytes(Encoding.PEM).decode()


def signed_by_another():
    """Alder's request with the mallory's signature in the place of its own."""
    own, other = (x509.load_pem_x509_csr(csr(key=key).encode()) for key in (CLIENT, OTHER))
    while len(own.signature) != len(other.signature):
        other = x509.load_pem_x509_csr(csr(key=OTHER).encode())
    content = own.public_bytes(Encoding.DER).replace(own.signature, other.signature)
    return x509.load_der_x509_csr(content).public_bytes(Encoding.PEM).decode()


def site(signer=NODE, **changes):
    """The fields of alder's request, signed with ``signer``."""
    fields = Request.signed("alder", CLIENT, NODE, SiteKey(site="alder", key="a1" * 32)).model_dump()
    fields = fields | changes
    proof = fields.pop("node_proof")
    if "node_proof" not in changes:
        proof = signer.sign(admission._stated(fields), admission._ECDSA).hex()
    return fields | {"node_proof": proof}


def authority(key=AUTHORITY, ca=True):
    builder = certificate_builder(named("coordinator"), named("coordinator"), key.public_key(), 30, NOW)
    builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
    return builder.add_extension(key_usage(signs_certificates=ca), critical=True).sign(key, HASH)


def kit(**changes):
    issued = certificate_builder(named("alder"), named("sites"), CLIENT.public_key(), 30, NOW)
    fields = {
        "name": "alder",
        "kind": "site",
        "federation": "lungs",
        "address": "wardround.example",
        "sites_port": 8443,
        "control_port": 8444,
        "certificate": certificate_pem(issued.sign(AUTHORITY, HASH)),
        "authority": certificate_pem(authority()),
    }
    return fields | changes


@pytest.fixture
def received(tmp_path):
    """A file as it comes, of fields or bytes."""

    def written(content):
        path = tmp_path / "alder.json"
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path

    return written


class TestRequest:
    def test_with_a_node_it_is_a_sites_and_without_one_a_researchers(self):
        assert Request(**site()).kind == "site"
        assert Request(**site(node_key=None, identity=None, node_proof=None)).kind == "researcher"

    def test_it_travels_as_a_file(self, tmp_path):
        request = Request(**site())
        write_record(tmp_path / "request.json", request)
        read = read_request(tmp_path / "request.json")
        assert read == request
        assert public_bytes(read.key) == public_bytes(CLIENT.public_key())
        assert public_bytes(read.node) == public_bytes(NODE.public_key())
        assert read.identity == SiteKey(site="alder", key="a1" * 32)

    @pytest.mark.attack("a certificate is asked for under another's name", held_by="the request's name")
    @pytest.mark.parametrize(
        "subject",
        [
            named("beech"),
            named("Alder"),
            named("wardround-administrator"),
            x509.Name([]),
            x509.Name([*named("alder"), *named("beech")]),
            x509.Name([*named("alder"), x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "beech")]),
        ],
        ids=["another", "capital", "administrator", "none", "two", "more"],
    )
    def test_a_certificate_request_for_another_name_is_refused(self, subject, received):
        with pytest.raises(DataError, match="is for another name than alder"):
            read_request(received(site(certificate_request=csr(subject))))

    @pytest.mark.mutant("a certificate is asked for under another's name", how="the name is not compared")
    def test_without_the_comparison_it_is_taken(self, received, monkeypatch):
        monkeypatch.setattr(admission, "common_name", lambda subject: "alder")
        read_request(received(site(certificate_request=csr(named("beech")))))

    @pytest.mark.attack("a certificate is asked for a key of somebody else", held_by="its signature")
    def test_a_certificate_request_that_another_key_has_signed_is_refused(self, received):
        with pytest.raises(DataError, match="is not signed by the key that it is for"):
            read_request(received(site(certificate_request=signed_by_another())))

    @pytest.mark.mutant(
        "a certificate is asked for a key of somebody else", how="nobody looks at the signature"
    )
    def test_without_a_look_at_the_signature_it_is_taken(self, received, monkeypatch):
        class Trusting:
            is_signature_valid = True

            def __init__(self, content):
                self._read = x509.load_pem_x509_csr(content)

            def __getattr__(self, name):
                return getattr(self._read, name)

        class Weakened:
            load_pem_x509_csr = Trusting

        monkeypatch.setattr(admission, "x509", Weakened)
        read_request(received(site(certificate_request=signed_by_another())))

    @pytest.mark.attack("a request names a SuperNode's key of somebody else", held_by="that key's signature")
    @pytest.mark.parametrize("changed", ["signer", "certificate_request", "identity"])
    def test_a_request_that_the_node_has_not_signed_is_refused(self, changed, received):
        """Who knows a hospital's public keys cannot ask for a certificate of its own key under that name."""
        fields = {
            "signer": site(signer=OTHER),
            "certificate_request": site() | {"certificate_request": request_pem(OTHER, "alder")},
            "identity": site() | {"identity": {"site": "alder", "key": "b2" * 32}},
        }
        with pytest.raises(DataError, match="node_proof is not a signature of the SuperNode's key"):
            read_request(received(fields[changed]))

    @pytest.mark.mutant(
        "a request names a SuperNode's key of somebody else", how="nobody looks at the signature"
    )
    def test_without_a_look_at_the_nodes_signature_it_is_taken(self, received, monkeypatch):
        monkeypatch.setattr(admission, "require_node_proof", lambda request: None)
        read_request(received(site() | {"certificate_request": request_pem(OTHER, "alder")}))

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"name": "Alder"}, "name: "),
            ({"name": "a" * 65}, "name: "),
            ({"name": "\x1b[2J"}, "name: "),
            ({"certificate_request": "no PEM"}, "certificate_request: "),
            ({"certificate_request": csr() + "A" * 4096}, "certificate_request: "),
            (
                {"certificate_request": csr().replace("M", "A")},
                "certificate_request cannot be read",
            ),
            (
                {"certificate_request": csr(key=ec.generate_private_key(ec.SECP256R1()))},
                "not of a key of EC P-384",
            ),
            (
                {"certificate_request": csr(key=rsa.generate_private_key(65537, 2048))},
                "not of a key of EC P-384",
            ),
            ({"node_key": "ecdsa-sha2-nistp384 AAAA"}, "node_key cannot be read"),
            (
                {
                    "node_key": Ed25519PrivateKey.generate()
                    .public_key()
                    .public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
                    .decode()
                },
                "node_key: ",
            ),
            ({"node_key": ssh_public(CLIENT.public_key())}, "the SuperNode and the client have one key"),
            ({"node_key": None}, "a site sends node_key, identity and node_proof"),
            ({"node_proof": None}, "a site sends node_key, identity and node_proof"),
            ({"node_proof": "nonsense"}, "node_proof: "),
            ({"node_proof": "00"}, "node_proof is not a signature of the SuperNode's key"),
            ({"identity": None}, "a site sends node_key, identity and node_proof"),
            ({"identity": {"site": "beech", "key": "a1" * 32}}, "the identity is of beech"),
            ({"identity": {"site": "alder", "key": "a1"}}, "identity.key: "),
            ({"role": "administrator"}, "role: "),
        ],
    )
    def test_what_is_no_request_is_named_with_a_remedy(self, changes, reason, received):
        with pytest.raises(DataError) as refused:
            read_request(received(site(**changes)))
        assert reason in str(refused.value)
        assert "alder.json is no request" in str(refused.value)
        assert str(refused.value).endswith("take another copy of it")
        assert str(refused.value).isprintable()

    def test_a_large_file_is_not_read(self, received):
        with pytest.raises(DataError, match=f"more than {MOST_BYTES} bytes"):
            read_request(received(b" " * MOST_BYTES + json.dumps(site()).encode()))

    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(DataError, match=r"none.json cannot be read \(No such file"):
            read_request(tmp_path / "none.json")

    def test_whatever_is_damaged_is_refused_as_data(self, received):
        """A parser of certificates that trips over a stranger's bytes must not end in a traceback."""
        draw = random.Random(1)  # noqa: S311  (it repeats)
        whole = json.dumps(site()).encode()
        for _ in range(400):
            damaged = bytearray(whole)
            for _ in range(draw.randint(1, 3)):
                damaged[draw.randrange(len(damaged))] = draw.choice(b'ABCxyz019+/=\\n"{}:')
            with suppress(DataError):
                read_request(received(bytes(damaged)))

    def test_it_holds_nothing_secret(self):
        assert set(Request.model_fields) == {
            "name",
            "certificate_request",
            "node_key",
            "identity",
            "node_proof",
        }


class TestWords:
    SWAPPED = (
        {"certificate_request": request_pem(OTHER, "alder")},
        {"node_key": ssh_public(OTHER.public_key()), "signer": OTHER},
        {"identity": {"site": "alder", "key": "b2" * 32}},
    )

    @pytest.mark.attack("a key is swapped while a request travels", held_by="its words")
    @pytest.mark.parametrize("swapped", SWAPPED)
    def test_a_request_with_a_swapped_key_has_other_words(self, swapped):
        assert Request(**site(**swapped)).words != Request(**site()).words

    @pytest.mark.mutant("a key is swapped while a request travels", how="the words are of the name alone")
    @pytest.mark.parametrize("swapped", SWAPPED)
    def test_words_of_the_name_alone_would_not_tell(self, swapped, monkeypatch):
        monkeypatch.setattr(Request, "canonical", property(lambda request: request.name.encode()))
        assert Request(**site(**swapped)).words == Request(**site()).words

    @pytest.mark.attack("a kit leads to somebody else's coordinator", held_by="its words")
    @pytest.mark.parametrize(
        "swapped",
        [
            {"authority": certificate_pem(authority(OTHER))},
            {"address": "mallory.example"},
            {"sites_port": 9443},
            {"federation": "hearts"},
        ],
    )
    def test_a_kit_that_was_changed_has_other_words(self, swapped):
        fields = kit()
        assert Kit(**fields | swapped).words != Kit(**fields).words

    @pytest.mark.mutant(
        "a kit leads to somebody else's coordinator", how="the words are of the certificate alone"
    )
    def test_words_of_the_certificate_alone_would_not_tell(self, monkeypatch):
        monkeypatch.setattr(Kit, "canonical", property(lambda kit: kit.certificate.encode()))
        fields = kit()
        assert Kit(**fields | {"address": "mallory.example"}).words == Kit(**fields).words

    def test_they_are_the_same_wherever_the_file_was_read(self, tmp_path):
        for record, read in ((Request(**site()), read_request), (Kit(**kit()), read_kit)):
            write_record(tmp_path / "file", record)
            assert read(tmp_path / "file").words == record.words
            assert len(record.words.split()) == 12

    def test_a_connection_with_all_of_a_kits_bytes_has_other_words(self, monkeypatch):
        monkeypatch.setattr(Connection, "canonical", property(lambda _: b"the same"))
        whole = Kit(**kit())
        assert whole.connection.words != whole.words


class TestKit:
    def test_it_says_where_the_coordinator_is(self, tmp_path):
        whole = Kit(**kit())
        write_record(tmp_path / "connection.json", whole.connection)
        connection = read_connection(tmp_path / "connection.json")
        assert (connection.address, connection.port) == ("wardround.example", 8443)
        assert Kit(**kit(kind="researcher")).port == 8444

    @pytest.mark.parametrize(
        "address", ["10.0.0.1", "2001:db8::1", "wardround.example", "localhost", "a-b.c1"]
    )
    def test_addresses_are_names_and_numbers(self, address):
        assert Kit(**kit(address=address)).address == address

    @pytest.mark.parametrize(
        "address", ["", "a b", "Wardround.example", "-a.example", "a..b", "a/../b", "1.2.3", "a:80", "x" * 64]
    )
    def test_others_are_refused(self, address):
        with pytest.raises(ValidationError, match="address"):
            Kit(**kit(address=address))

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"name": "beech"}, "certificate is for another name than beech"),
            ({"certificate": csr()}, "certificate cannot be read"),
            ({"authority": certificate_pem(authority(ca=False))}, "authority is no authority's certificate"),
            (
                {"certificate": certificate_pem(authority(ec.generate_private_key(ec.SECP256R1())))},
                "certificate is not of a key of EC P-384",
            ),
            ({"authority": kit()["certificate"]}, "authority is no authority's certificate"),
            ({"sites_port": 0}, "sites_port: "),
            ({"kind": "administrator"}, "kind: "),
        ],
    )
    def test_what_is_no_kit_is_named_with_a_remedy(self, changes, reason, received):
        with pytest.raises(DataError) as refused:
            read_kit(received(kit(**changes)))
        assert reason in str(refused.value)
        assert "alder.json is no kit" in str(refused.value)

    def test_its_certificate_tells_until_when(self):
        assert Kit(**kit()).issued.not_valid_after_utc == NOW + timedelta(days=30)
