"""What travels before a hospital or a researcher is a member: a request one way, a kit the other.

Neither holds a secret, and both may travel any way, e-mail too, since people compare their words on the
telephone. Both come from strangers, so everything in them is bounded.
"""

import hashlib
import ipaddress
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_public_key,
)
from pydantic import AfterValidator, Field, StringConstraints, model_validator

from federation.certificates import (
    HASH,
    UNREADABLE,
    common_name,
    is_authority,
    is_p384,
    public_bytes,
    request_pem,
)
from federation.record_files import read_record
from federation.schema import Frozen
from federation.secure_sum.fingerprint import words_of
from federation.secure_sum.roster import SiteKey
from federation.study import Name

Kind = Literal["site", "researcher"]
MOST_BYTES = 32 * 1024

Pem = Annotated[
    str, StringConstraints(max_length=4096, pattern=r"^-----BEGIN [A-Z ]+-----\n[A-Za-z0-9+/=\n -]+\n$")
]
NodeKey = Annotated[
    str, StringConstraints(max_length=512, pattern=r"^ecdsa-sha2-nistp(256|384|521) [A-Za-z0-9+/=]+$")
]
NodeProof = Annotated[str, StringConstraints(max_length=300, pattern=r"^([0-9a-f]{2})+$")]
Port = Annotated[int, Field(ge=1, le=65535)]

_ECDSA = ec.ECDSA(HASH)
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")


def _address(value: str) -> str:
    """A DNS name or an IP address, as a certificate can name it."""
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        labels = value.split(".")
        if all(_LABEL.fullmatch(label) for label in labels) and not labels[-1].isdigit():
            return value
    raise ValueError("is neither a DNS name in small letters nor an IP address")


def _canonical(fields: Mapping[str, object]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def _stated(fields: Mapping[str, object]) -> bytes:
    """What a SuperNode's key signs: nothing else that it ever signs looks so."""
    return b"wardround request 1 of the node\n" + _canonical(fields)


Address = Annotated[str, StringConstraints(min_length=1, max_length=253), AfterValidator(_address)]


class Worded(Frozen):
    """A record that people compare in words."""

    # Keeps the words of one kind of record from ever being those of another.
    domain: ClassVar[str]

    @property
    def canonical(self) -> bytes:
        """All of it, the same bytes wherever they are made."""
        return _canonical(self.model_dump(mode="json"))

    @property
    def words(self) -> str:
        """All of it as twelve words."""
        return words_of(hashlib.sha256(f"wardround {self.domain} 1\n".encode() + self.canonical).hexdigest())


class Request(Worded):
    """What somebody who wants to be a member sends to the coordinator.

    Attributes:
        name: the hospital's, as studies name it, or the researcher's.
        certificate_request: PKCS 10 in PEM, for that name, of EC P-384, signed with the client's key.
        node_key: the public key of a hospital's SuperNode, as SSH writes it; a researcher has none.
        identity: the hospital's custodian's; a researcher has none.
        node_proof: the SuperNode's signature over all else, as hex digits, so that nobody asks in the name of
            a key that is not theirs; a researcher has none.
    """

    domain = "request"

    name: Name
    certificate_request: Pem
    node_key: NodeKey | None = None
    identity: SiteKey | None = None
    node_proof: NodeProof | None = None

    @classmethod
    def signed(
        cls,
        name: str,
        client: ec.EllipticCurvePrivateKey,
        node: ec.EllipticCurvePrivateKey | None = None,
        identity: SiteKey | None = None,
    ) -> Self:
        """The request of somebody who has these keys."""
        fields = {
            "name": name,
            "certificate_request": request_pem(client, name),
            "node_key": None if node is None else ssh_public(node.public_key()),
            "identity": None if identity is None else identity.model_dump(),
        }
        proof = None if node is None else node.sign(_stated(fields), _ECDSA).hex()
        return cls.model_validate(fields | {"node_proof": proof})

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        require_own_request(self)
        if len({field is None for field in (self.node_key, self.identity, self.node_proof)}) != 1:
            raise ValueError("a site sends node_key, identity and node_proof, and a researcher none of them")
        if self.identity is not None and self.identity.site != self.name:
            raise ValueError(f"the identity is of {self.identity.site}, and the request of {self.name}")
        if self.node_key is not None and public_bytes(self.node) == public_bytes(self.key):
            raise ValueError("the SuperNode and the client have one key; each needs its own")
        require_node_proof(self)
        return self

    @property
    def kind(self) -> Kind:
        """Who asks."""
        return "researcher" if self.node_key is None else "site"

    @property
    def key(self) -> ec.EllipticCurvePublicKey:
        """The client's public key."""
        key = x509.load_pem_x509_csr(self.certificate_request.encode()).public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise TypeError("a request was validated with another key")
        return key

    @property
    def node(self) -> ec.EllipticCurvePublicKey:
        """The SuperNode's public key; a site's request has one."""
        try:
            key = load_ssh_public_key((self.node_key or "").encode())
        except UNREADABLE as error:
            raise ValueError("node_key cannot be read") from error
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise TypeError("a request was validated with another key")
        return key


def require_own_request(request: Request) -> None:
    """The certificate request is of the name that asks, and signed by the key that it is for.

    Raises:
        ValueError: it is of another name or kind of key, or somebody else's.
    """
    try:
        asked = x509.load_pem_x509_csr(request.certificate_request.encode())
        signed, key = asked.is_signature_valid, asked.public_key()
    except (TypeError, *UNREADABLE) as error:
        raise ValueError("certificate_request cannot be read") from error
    if not is_p384(key):
        raise ValueError("certificate_request is not of a key of EC P-384")
    if not signed:
        raise ValueError("certificate_request is not signed by the key that it is for")
    if common_name(asked.subject) != request.name:
        raise ValueError(f"certificate_request is for another name than {request.name}")


def require_node_proof(request: Request) -> None:
    """Who sends a site's request has its SuperNode's key.

    Raises:
        ValueError: the request is not signed with it.
    """
    if request.node_proof is not None:
        try:
            stated = _stated(request.model_dump(mode="json", exclude={"node_proof"}))
            request.node.verify(bytes.fromhex(request.node_proof), stated, _ECDSA)
        except InvalidSignature as error:
            raise ValueError("node_proof is not a signature of the SuperNode's key") from error


class Connection(Worded):
    """Where a member finds its coordinator.

    Attributes:
        name: the member's.
        kind: what it is.
        federation: the federation's name.
        address: the coordinator's, a DNS name or an IP address.
        sites_port: where its gateway expects sites.
        control_port: where its gateway expects researchers.
    """

    domain = "connection"

    name: Name
    kind: Kind
    federation: Name
    address: Address
    sites_port: Port
    control_port: Port

    @property
    def port(self) -> int:
        """The one that this member uses."""
        return self.sites_port if self.kind == "site" else self.control_port


class Kit(Connection):
    """What the coordinator sends back.

    Attributes:
        certificate: the member's, in PEM.
        authority: the certificate, in PEM, that the coordinator's gateway shows one of.
    """

    domain = "kit"

    certificate: Pem
    authority: Pem

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        for field in ("certificate", "authority"):
            try:
                _certificate(getattr(self, field)).public_key()
            except UNREADABLE as error:
                raise ValueError(f"{field} cannot be read") from error
        if not is_authority(_certificate(self.authority)):
            raise ValueError("authority is no authority's certificate of EC P-384, signed by itself")
        if not is_p384(self.issued.public_key()):
            raise ValueError("certificate is not of a key of EC P-384")
        if common_name(self.issued.subject) != self.name:
            raise ValueError(f"certificate is for another name than {self.name}")
        return self

    @property
    def issued(self) -> x509.Certificate:
        """The member's certificate."""
        return _certificate(self.certificate)

    @property
    def connection(self) -> Connection:
        """Where the member finds its coordinator."""
        return Connection(**{field: getattr(self, field) for field in Connection.model_fields})


def read_request(path: Path) -> Request:
    """What a stranger has sent.

    Raises:
        DataError: it cannot be read, or is none.
    """
    return read_record(path, Request, "request", MOST_BYTES)


def read_kit(path: Path) -> Kit:
    """What the coordinator has sent.

    Raises:
        DataError: it cannot be read, or is none.
    """
    return read_record(path, Kit, "kit", MOST_BYTES)


def read_connection(path: Path) -> Connection:
    """Where this member finds its coordinator.

    Raises:
        DataError: it cannot be read, or is none.
    """
    return read_record(path, Connection, "connection", MOST_BYTES)


def ssh_public(key: ec.EllipticCurvePublicKey) -> str:
    """A SuperNode's public key as a request has it."""
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def node_pem(key: ec.EllipticCurvePublicKey) -> str:
    """A SuperNode's public key as Flower keeps and sends it."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _certificate(content: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(content.encode())
