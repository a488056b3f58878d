"""Keys and X.509 as everybody of a federation uses them: EC P-384 alone, in PEM."""

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from federation.errors import DataError
from federation.key_files import read_secret

HASH = hashes.SHA384()
# What cryptography raises of a stranger's certificate, request or key.
UNREADABLE = (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
# Clocks of hospitals may be this much behind.
EARLIER = timedelta(hours=1)
AUTHORITY_DAYS = 3650


def new_key() -> ec.EllipticCurvePrivateKey:
    """A key of the operating system's randomness."""
    return ec.generate_private_key(ec.SECP384R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """``key`` as a file has it (PKCS 8, not encrypted)."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def read_private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The key at ``path``.

    Raises:
        DataError: it cannot be read, is none of EC P-384, or others may read it.
    """
    try:
        key = load_pem_private_key(read_secret(path), None)
    except (TypeError, *UNREADABLE) as error:
        raise DataError(f"{path} holds no private key without a password; restore it") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not is_p384(key.public_key()):
        raise DataError(f"{path} is no key of EC P-384; restore it")
    return key


def public_bytes(key: object) -> bytes:
    """A public key as two are compared (DER)."""
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise TypeError(f"{type(key).__name__} is no EC key")
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def named(common_name: str) -> x509.Name:
    """A subject that is its common name and nothing else."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def common_name(subject: x509.Name) -> str | None:
    """The common name of a ``subject`` that is nothing else; else None."""
    attributes = list(subject)
    if len(attributes) != 1 or attributes[0].oid != NameOID.COMMON_NAME:
        return None
    return str(attributes[0].value)


def is_p384(key: object) -> bool:
    """Whether a public key is one of EC P-384."""
    return isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP384R1)


def request_pem(key: ec.EllipticCurvePrivateKey, name: str) -> str:
    """A certificate request (PKCS 10) for ``name``, signed by ``key``."""
    request = x509.CertificateSigningRequestBuilder().subject_name(named(name)).sign(key, HASH)
    return request.public_bytes(Encoding.PEM).decode()


def certificate_pem(certificate: x509.Certificate) -> str:
    """``certificate`` as a file has it."""
    return certificate.public_bytes(Encoding.PEM).decode()


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether it is the self-signed certificate of an authority with a key of EC P-384."""
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        certificate.verify_directly_issued_by(certificate)
    except (InvalidSignature, TypeError, *UNREADABLE, x509.ExtensionNotFound):
        return False
    return constraints.value.ca and is_p384(certificate.public_key())


def certificate_builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int, now: datetime
) -> x509.CertificateBuilder:
    """A certificate with a random serial that is valid from an hour before ``now`` for so many ``days``."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLIER)
        .not_valid_after(now + timedelta(days=days))
    )


def key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """What a key may be used for: an authority's to sign certificates and lists, any other for TLS."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def alternative_names(addresses: Sequence[str]) -> x509.SubjectAlternativeName:
    """What a certificate says that is shown at ``addresses``, DNS names or IP addresses."""
    names: list[x509.GeneralName] = []
    for address in addresses:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(address)))
        except ValueError:
            names.append(x509.DNSName(address))
    return x509.SubjectAlternativeName(names)


def names_of(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    """Where a certificate may be shown; None for one that does not say."""
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def self_signed(key: ec.EllipticCurvePrivateKey, addresses: Sequence[str], now: datetime) -> x509.Certificate:
    """A server's certificate that no authority signs: who connects has the file.

    It goes from one program to its neighbour and is trusted by nobody else, so it lasts.
    """
    subject = named(addresses[0])
    return (
        certificate_builder(subject, subject, key.public_key(), AUTHORITY_DAYS, now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(alternative_names(addresses), critical=False)
        .sign(key, HASH)
    )


def utc_now() -> datetime:
    """The time in whole seconds, as certificates tell it."""
    return datetime.now(UTC).replace(microsecond=0)
