"""A member's own folder: its client key, the request that it sends, and what comes back.

FOLDER/request.json           what was sent
FOLDER/clients/FINGERPRINT/   a client key, and its certificate once that has come
FOLDER/client                 a link to the pair in use
FOLDER/client.{key,crt}       links through it
FOLDER/coordinator.crt        the authority of the coordinator's gateway
FOLDER/connection.json        where that is

Key and certificate come into use by one rename of a link, so they always fit each other. A new key waits
beside the pair in use until its certificate comes.
"""

import hashlib
import shutil
import uuid
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from federation.admission import Kit, Request, read_request
from federation.certificates import key_pem, new_key, public_bytes, read_private_key
from federation.errors import ConfigError, DataError, StorageError
from federation.files import make_folder, sync_folder, write_whole
from federation.record_files import write_record
from federation.secure_sum.roster import SiteKey

SECRET_MODE = 0o600


@dataclass(frozen=True)
class Enrolment:
    """See the module.

    Attributes:
        folder: of one member.
    """

    folder: Path

    @property
    def request(self) -> Path:
        """What was sent."""
        return self.folder / "request.json"

    @property
    def coordinator(self) -> Path:
        """The authority of the coordinator's gateway."""
        return self.folder / "coordinator.crt"

    @property
    def connection(self) -> Path:
        """Where the coordinator is."""
        return self.folder / "connection.json"

    @property
    def current(self) -> Path:
        """The link to the pair in use."""
        return self.folder / "client"

    def require_none(self) -> None:
        """Refuse to make keys where some were made.

        Raises:
            ConfigError: a request lies there.
        """
        if self.request.exists():
            raise ConfigError(
                f"--to {self.folder} has {self.request.name} already; send that, or, once the coordinator "
                "has revoked this name, make new keys with --force"
            )

    def ask(
        self,
        name: str,
        node: ec.EllipticCurvePrivateKey | None = None,
        identity: SiteKey | None = None,
    ) -> Request:
        """Make a client key, and write the request for its certificate.

        Raises:
            StorageError: the disk did not take it; what was in use still is.
        """
        key = new_key()
        pair = self._pair(key.public_key())
        for folder in (self.folder, pair.parent, pair):
            make_private(folder)
        write_whole(pair / "client.key", key_pem(key), SECRET_MODE)
        request = Request.signed(name, key, node, identity)
        write_record(self.request, request)
        return request

    def require_fitting(self, kit: Kit, now: datetime) -> None:
        """Hold a kit against what was asked for, before people compare its words.

        Raises:
            DataError: it is for another member or key, of another coordinator, or not valid now.
        """
        asked = read_request(self.request)
        if (kit.name, kit.kind) != (asked.name, asked.kind):
            raise DataError(
                f"the kit is for the {kit.kind} {kit.name}, and {self.folder} is of the {asked.kind} "
                f"{asked.name}; ask the coordinator for your own"
            )
        self._require_key(kit)
        self._require_pinned(kit)
        start, end = kit.issued.not_valid_before_utc, kit.issued.not_valid_after_utc
        if not start <= now < end:
            raise DataError(
                f"the kit's certificate is valid from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC, "
                f"and now it is {now:%Y-%m-%d %H:%M}; set this clock, or send {self.request} again"
            )

    def install(self, kit: Kit) -> None:
        """Put the certificates in their places; the pair in use changes at once, and last.

        Args:
            kit: one that fits.

        Raises:
            DataError: the request that lies here is none.
            StorageError: the disk did not take it; what was in use still is.
        """
        pair = self._pair(kit.issued.public_key())
        waits = self._pair(read_request(self.request).key)
        write_whole(pair / "client.crt", kit.certificate.encode())
        write_whole(self.coordinator, kit.authority.encode())
        write_record(self.connection, kit.connection)
        for name in ("client.key", "client.crt"):
            _link(self.folder / name, Path("client") / name)
        _link(self.current, pair.relative_to(self.folder))
        for other in pair.parent.iterdir():
            if other not in (pair, waits):
                shutil.rmtree(other, ignore_errors=True)

    def _require_key(self, kit: Kit) -> None:
        file = self._pair(kit.issued.public_key()) / "client.key"
        if not file.is_file():
            raise DataError(
                f"the kit's certificate is for a key that is not in {self.folder}; ask the coordinator to "
                f"admit {self.request}, as it lies there"
            )
        key = read_private_key(file)
        if public_bytes(key.public_key()) != public_bytes(kit.issued.public_key()):
            raise DataError(f"{file} is another key than its folder says; restore it, or make a new one")

    def _require_pinned(self, kit: Kit) -> None:
        try:
            pinned = self.coordinator.read_bytes() if self.coordinator.exists() else kit.authority.encode()
        except OSError as error:
            raise DataError(f"{self.coordinator} cannot be read ({error.strerror}); restore it") from error
        if pinned != kit.authority.encode():
            raise DataError(
                f"the kit is of another coordinator than {self.coordinator}; take none but that one's, or, "
                "if it was set up anew and you have that from its people, remove this file"
            )

    def _pair(self, key: object) -> Path:
        return self.folder / "clients" / hashlib.sha256(public_bytes(key)).hexdigest()[:16]


def make_private(folder: Path) -> None:
    """Make ``folder``, for its owner alone, where it is missing.

    Raises:
        StorageError: it cannot be made.
    """
    try:
        make_folder(folder, mode=0o700)
    except OSError as error:
        raise StorageError(f"{folder} cannot be made ({error.strerror}); see to what it is in") from error


def _link(link: Path, target: Path) -> None:
    """Have ``link`` lead to ``target``, whole and durably; before, it leads to where it led."""
    scrap = link.with_name(f".{link.name}.{uuid.uuid4().hex}")
    try:
        scrap.symlink_to(target)
        scrap.replace(link)
        sync_folder(link.parent)
    except OSError as error:
        scrap.unlink(missing_ok=True)
        raise StorageError(f"{link} could not be set ({error.strerror}); free space and run again") from error
