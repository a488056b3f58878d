"""A certificate authority: what it signs, and what it takes back (RFC 5280)."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from federation.certificates import (
    AUTHORITY_DAYS,
    EARLIER,
    HASH,
    UNREADABLE,
    alternative_names,
    certificate_builder,
    certificate_pem,
    key_pem,
    key_usage,
    named,
    new_key,
    public_bytes,
    read_private_key,
)
from federation.enrolment import SECRET_MODE
from federation.errors import DataError
from federation.files import write_whole


@dataclass(frozen=True, repr=False)
class Authority:
    """See the module.

    Attributes:
        key: what it signs with.
        certificate: what others know it by.
    """

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def create(cls, federation: str, role: str, now: datetime) -> Self:
        """A new one, for ten years; of each ``role`` a federation has one."""
        key = new_key()
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, federation),
                x509.NameAttribute(NameOID.COMMON_NAME, f"authority for {role}"),
            ]
        )
        certificate = (
            certificate_builder(subject, subject, key.public_key(), AUTHORITY_DAYS, now)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(key_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, HASH)
        )
        return cls(key, certificate)

    @classmethod
    def read(cls, folder: Path, role: str) -> Self:
        """The one that lies in ``folder``.

        Raises:
            DataError: it cannot be read, or its key and certificate do not fit.
        """
        key_file, file = folder / f"{role}.key", folder / f"{role}.crt"
        key = read_private_key(key_file)
        try:
            certificate = x509.load_pem_x509_certificate(file.read_bytes())
        except OSError as error:
            raise DataError(f"{file} cannot be read ({error.strerror}); restore it") from error
        except UNREADABLE as error:
            raise DataError(f"{file} holds no certificate; restore it") from error
        if public_bytes(key.public_key()) != public_bytes(certificate.public_key()):
            raise DataError(f"{key_file} is not the key of {file}; restore both")
        return cls(key, certificate)

    @property
    def pem(self) -> bytes:
        """Its certificate as a file has it."""
        return certificate_pem(self.certificate).encode()

    def write(self, folder: Path, role: str) -> None:
        """Put it into ``folder``."""
        write_whole(folder / f"{role}.key", key_pem(self.key), SECRET_MODE)
        write_whole(folder / f"{role}.crt", self.pem)

    def client(self, name: str, key: ec.EllipticCurvePublicKey, days: int, now: datetime) -> x509.Certificate:
        """A certificate with which ``name`` may connect."""
        return self._sign(certificate_builder(named(name), self._subject, key, days, now), _CLIENT)

    def server(
        self, address: str, key: ec.EllipticCurvePublicKey, days: int, now: datetime
    ) -> x509.Certificate:
        """A certificate with which ``address`` may be connected to."""
        builder = certificate_builder(named("gateway"), self._subject, key, days, now)
        return self._sign(builder.add_extension(alternative_names([address]), critical=False), _SERVER)

    def revocation_list(self, revoked: Iterable[tuple[int, datetime]], number: int, now: datetime) -> bytes:
        """The list, in PEM, of serials that are valid no more, each with its day.

        It names no near day of the next one, though lists do: nginx refuses everybody once that is past. The
        list is written whenever anything changes, by the coordinator, on the machine that reads it.
        """
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._subject)
            .last_update(now - EARLIER)
            .next_update(now + timedelta(days=AUTHORITY_DAYS))
            .add_extension(x509.CRLNumber(number), critical=False)
            .add_extension(self._identifier, critical=False)
        )
        for serial, day in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(day)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.key, HASH).public_bytes(Encoding.PEM)

    @property
    def _subject(self) -> x509.Name:
        return self.certificate.subject

    @property
    def _identifier(self) -> x509.AuthorityKeyIdentifier:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())

    def _sign(self, builder: x509.CertificateBuilder, purpose: ObjectIdentifier) -> x509.Certificate:
        return (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=True)
            .add_extension(self._identifier, critical=False)
            .sign(self.key, HASH)
        )


_CLIENT, _SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
