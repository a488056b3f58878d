"""Authorities, certificates and revocation lists for tests, as the coordinator makes them."""

import ipaddress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Pair:
    """A key and its certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def write(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.key").write_bytes(self.key_pem)
        (folder / f"{name}.key").chmod(0o600)
        (folder / f"{name}.crt").write_bytes(self.pem)


@dataclass
class Authority:
    """Signs certificates; two of the same name are strangers to each other."""

    name: str
    own: Pair = field(init=False)
    revoked: list[Pair] = field(default_factory=list)

    def __post_init__(self) -> None:
        key = ec.generate_private_key(ec.SECP384R1())
        certificate = (
            _builder(_named(self.name), _named(self.name), key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA384())
        )
        self.own = Pair(key, certificate)

    @property
    def pem(self) -> bytes:
        return self.own.pem

    def client(self, name: str, *, expired: bool = False) -> Pair:
        return self._leaf(name, [Usage.CLIENT_AUTH], (), expired=expired)

    def server(self, *names: str, expired: bool = False) -> Pair:
        return self._leaf(names[0], [Usage.SERVER_AUTH], names, expired=expired)

    def revoke(self, pair: Pair) -> None:
        self.revoked.append(pair)

    @property
    def crl(self) -> bytes:
        now = datetime.now(UTC)
        builder = x509.CertificateRevocationListBuilder(_named(self.name), now - DAY, now + 3650 * DAY)
        for pair in self.revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder(pair.certificate.serial_number, now - DAY).build()
            )
        return builder.sign(self.own.key, hashes.SHA384()).public_bytes(Encoding.PEM)

    def _leaf(self, name: str, usage: list, names: tuple[str, ...], *, expired: bool) -> Pair:
        key = ec.generate_private_key(ec.SECP384R1())
        builder = (
            _builder(_named(name), self.own.certificate.subject, key, expired=expired)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.own.key.public_key()),
                critical=False,
            )
        )
        if names:
            alternatives = x509.SubjectAlternativeName([_alternative(each) for each in names])
            builder = builder.add_extension(alternatives, critical=False)
        return Pair(key, builder.sign(self.own.key, hashes.SHA384()))


def self_signed(*names: str) -> Pair:
    """A server's certificate that is its own authority."""
    key = ec.generate_private_key(ec.SECP384R1())
    builder = (
        _builder(_named(names[0]), _named(names[0]), key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([Usage.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_alternative(each) for each in names]), critical=False)
    )
    return Pair(key, builder.sign(key, hashes.SHA384()))


def public_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """What a SuperNode's header holds, before base64."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(subject, issuer, key, *, expired: bool = False) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 2 * DAY)
        .not_valid_after(now - DAY if expired else now + 365 * DAY)
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
