"""The keys of a hospital's connection, made where they are used.

FOLDER/node.key          the SuperNode's, EC P-384, as OpenSSH writes it: Flower reads nothing else
FOLDER/inside.{key,crt}  TLS between SuperNode and site gateway
FOLDER/launcher.secret   32 bytes, raw, between launcher and SuperNode

and what ``federation/enrolment.py`` has there of every member.
"""

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_ssh_private_key,
)

from client_app.custodian.keys import SiteKeys
from federation.admission import Request, read_request
from federation.certificates import (
    UNREADABLE,
    certificate_pem,
    key_pem,
    new_key,
    self_signed,
    utc_now,
)
from federation.enrolment import SECRET_MODE, Enrolment, make_private
from federation.errors import ConfigError, DataError
from federation.files import write_whole
from federation.key_files import kept_key
from federation.secure_sum.roster import SiteKey


@dataclass(frozen=True)
class SiteEnrolment(Enrolment):
    """A hospital's folder; see the module."""

    @property
    def node_key(self) -> Path:
        """The SuperNode's key."""
        return self.folder / "node.key"

    @property
    def launcher_secret(self) -> Path:
        """What the launcher and the SuperNode share."""
        return self.folder / "launcher.secret"

    def init(self, name: str, service_folder: Path, *, force: bool = False) -> Request:
        """Make all keys of a hospital's connection, and its request; one that was cut short goes on.

        Args:
            name: the hospital's, as studies name it.
            service_folder: the custodian's; its keys are drawn if it has none.
            force: make the SuperNode's and the client's anew; the custodian's stay in any case.

        Raises:
            ConfigError: they were made.
            DataError: a key is not what it should be.
            StorageError: the disk did not take one.
        """
        if not force:
            self.require_none()
        make_private(self.folder)
        identity = identity_of(service_folder)
        if force or not self.node_key.exists():
            write_whole(self.node_key, _openssh(new_key()), SECRET_MODE)
        kept_key(self.launcher_secret)
        self._make_inside()
        return self._ask(name, identity)

    def renew(self, name: str, service_folder: Path) -> Request:
        """Make a new client key, which waits, and its request; all other keys stay.

        Raises:
            ConfigError: nothing was made yet.
            DataError: a key is not what it should be.
            StorageError: the disk did not take it; what was in use still is.
        """
        if not self.request.exists():
            raise ConfigError(f"--renew: {self.request} is missing; leave --renew out the first time")
        before = read_request(self.request)
        if before.name != name:
            raise ConfigError(f"{self.folder} is of {before.name}, and the config of {name}; see to --to")
        return self._ask(name, identity_of(service_folder))

    def _ask(self, name: str, identity: str) -> Request:
        return self.ask(name, _read_node_key(self.node_key), SiteKey(site=name, key=identity))

    def _make_inside(self) -> None:
        """The certificate is written last, so where it lies it fits the key."""
        certificate = self.folder / "inside.crt"
        if not certificate.exists():
            key = new_key()
            write_whole(self.folder / "inside.key", key_pem(key), SECRET_MODE)
            shown = self_signed(key, ("gateway", "localhost", "127.0.0.1"), utc_now())
            write_whole(certificate, certificate_pem(shown).encode())


def identity_of(service_folder: Path) -> str:
    """The public key of the custodian of that folder, which may be running.

    One that has never served has its keys drawn. Where there is a ledger, they have to be there.

    Raises:
        DataError: a key is missing or damaged.
        StorageError: one could not be written.
    """
    if (service_folder / "ledger.sqlite").exists():
        return SiteKeys.found_in(service_folder).public
    make_private(service_folder)
    return SiteKeys.kept_in(service_folder).public


def _openssh(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def _read_node_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = load_ssh_private_key(path.read_bytes(), None)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); restore it") from error
    except (TypeError, *UNREADABLE) as error:
        raise DataError(f"{path} is no private key as OpenSSH writes it; restore it") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise DataError(f"{path} is no key of EC P-384; restore it")
    return key
