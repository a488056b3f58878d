"""A coordinator's folder: what it is made of, and how its files follow from the book and the settings.

FOLDER/federation.yaml   the settings
FOLDER/authority/        the three authorities' keys and admitted.json, the book; mounted nowhere
FOLDER/gateway/          for nginx alone; superlink.crt is what it trusts inside
FOLDER/superlink/        launcher.secret, and inside.{key,crt}: without TLS Flower authenticates no SuperNode
FOLDER/administrator/    reaches register-node and unregister-node
"""

import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from federation.admission import Kind
from federation.certificates import (
    UNREADABLE,
    alternative_names,
    certificate_pem,
    key_pem,
    names_of,
    new_key,
    public_bytes,
    read_private_key,
    self_signed,
)
from federation.enrolment import SECRET_MODE, make_private
from federation.errors import ConfigError, DataError, StorageError
from federation.files import locked, sync_folder, write_whole
from federation.key_files import kept_key
from server_app.admission.authority import Authority
from server_app.admission.book import Book, Issued, read_book, write_book
from server_app.admission.settings import Settings, read_settings
from server_app.gateway import ADMINISTRATOR, gateway_config

ROLES: dict[Kind, str] = {"site": "sites", "researcher": "researchers"}


@dataclass(frozen=True)
class Folder:
    """See the module.

    Attributes:
        path: where it is.
    """

    path: Path

    @property
    def authority(self) -> Path:
        """Keys that sign, and the book."""
        return self.path / "authority"

    @property
    def gateway(self) -> Path:
        """What nginx reads."""
        return self.path / "gateway"

    @property
    def administrator(self) -> Path:
        """With what the coordinator's own commands reach the SuperLink."""
        return self.path / "administrator"

    @property
    def superlink(self) -> Path:
        """What the SuperLink and its launcher read."""
        return self.path / "superlink"

    @property
    def settings(self) -> Settings:
        """The coordinator's settings."""
        return read_settings(self.path / "federation.yaml")

    @property
    def book(self) -> Book:
        """Who was admitted."""
        return read_book(self._book)

    @property
    def _book(self) -> Path:
        return self.authority / "admitted.json"

    @property
    def own_certificates(self) -> dict[str, Issued]:
        """The certificates that the coordinator has itself, by who shows them.

        Raises:
            DataError: one cannot be read.
        """
        files = {"the gateway": self._server, "the administrator": self._client}
        found = {who: _read_certificate(file) for who, file in files.items()}
        if lost := [str(files[who]) for who, certificate in found.items() if certificate is None]:
            raise DataError(f"{lost[0]} cannot be read; wardround-coordinator sync makes it anew")
        return {who: Issued.of(certificate) for who, certificate in found.items() if certificate is not None}

    def require(self) -> None:
        """Refuse what is no coordinator's folder.

        Raises:
            ConfigError: it is none.
        """
        if not self._book.exists():
            raise ConfigError(
                f"--folder {self.path} is no coordinator's folder; wardround-coordinator provision makes one"
            )

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Keep every other command out that changes the folder.

        Raises:
            ConfigError: it is no coordinator's folder.
        """
        self.require()
        with locked(self.authority / "lock", wait=True):
            yield

    def member_authority(self, kind: Kind) -> Authority:
        """The one that signs certificates of such members."""
        return Authority.read(self.authority, ROLES[kind])

    def keep(self, book: Book, now: datetime) -> None:
        """Write the book, then what follows from it; cut short, the next command writes that again.

        Raises:
            StorageError: the disk did not take it.
        """
        write_book(self._book, book)
        self.refresh(now)

    def refresh(self, now: datetime) -> None:
        """Write anew what follows from book and settings, and renew the coordinator's own certificates.

        Raises:
            ConfigError: the settings are wrong.
            DataError: a file of the folder is not what it should be.
            StorageError: the disk did not take it.
        """
        settings, book = self.settings, self.book
        for kind, role in ROLES.items():
            authority = self.member_authority(kind)
            revoked = authority.revocation_list(book.revoked(kind), book.version, now)
            write_whole(self.gateway / f"{role}.crl", revoked)
            write_whole(self.gateway / f"{role}.crt", authority.pem)
        write_whole(self.gateway / "nodes.map", book.nodes_map.encode())
        write_whole(self.gateway / "nginx.conf", gateway_config(settings).encode())
        self._renew(settings, now)

    def _renew(self, settings: Settings, now: datetime) -> None:
        coordinator, researchers = (
            Authority.read(self.authority, "coordinator"),
            self.member_authority("researcher"),
        )
        inside = self.superlink / "inside.crt"
        _keep_certificate(
            self._server,
            now,
            [settings.address],
            lambda key: coordinator.server(settings.address, key.public_key(), settings.days, now),
        )
        _keep_certificate(
            self._client,
            now,
            [],
            lambda key: researchers.client(ADMINISTRATOR, key.public_key(), settings.days, now),
        )
        _keep_certificate(inside, now, settings.inside, lambda key: self_signed(key, settings.inside, now))
        write_whole(self.administrator / "coordinator.crt", coordinator.pem)
        write_whole(self.gateway / "superlink.crt", inside.read_bytes())

    @property
    def _server(self) -> Path:
        return self.gateway / "server.crt"

    @property
    def _client(self) -> Path:
        return self.administrator / "client.crt"


def provision(settings_file: Path, to: Path, now: datetime, *, force: bool = False) -> Folder:
    """Make a coordinator's folder, whole or not at all.

    Args:
        settings_file: its ``federation.yaml``, which is copied.
        to: where; it must not be there.
        now: when.
        force: if it is there, move it aside; nobody whom that one admitted is a member of the new one.

    Raises:
        ConfigError: the settings are wrong, or the folder is there.
        StorageError: the disk did not take it.
    """
    settings = read_settings(settings_file)
    if to.exists() and not force:
        raise ConfigError(
            f"--to {to} is there already; name another folder, or, to begin anew with all members, --force"
        )
    made = Folder(to.with_name(f".{to.name}.{uuid.uuid4().hex}"))
    try:
        _fill(made, settings, settings_file.read_bytes(), now)
        _put(made.path, to, now)
    finally:
        shutil.rmtree(made.path, ignore_errors=True)
    return Folder(to)


def _fill(made: Folder, settings: Settings, as_written: bytes, now: datetime) -> None:
    for folder in (made.path, made.authority, made.gateway, made.superlink, made.administrator):
        make_private(folder)
    write_whole(made.path / "federation.yaml", as_written)
    for role in ("coordinator", *ROLES.values()):
        Authority.create(settings.name, role, now).write(made.authority, role)
    kept_key(made.superlink / "launcher.secret")
    made.keep(Book(), now)


def _put(made: Path, to: Path, now: datetime) -> None:
    try:
        if to.exists():
            to.rename(to.with_name(f"{to.name}.before-{now:%Y%m%dT%H%M%S}"))
        made.rename(to)
        sync_folder(to.parent)
    except OSError as error:
        raise StorageError(f"{to} could not be made ({error.strerror}); see to its folder") from error


def _read_certificate(file: Path) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(file.read_bytes())
    except (OSError, *UNREADABLE):
        return None


def _keep_certificate(
    file: Path,
    now: datetime,
    addresses: Sequence[str],
    sign: Callable[[ec.EllipticCurvePrivateKey], x509.Certificate],
) -> None:
    """Have a certificate at ``file`` that lasts and names ``addresses``.

    The key beside it stays, and is drawn only where it is missing, so the two fit at every moment but then.
    """
    key_file = file.with_suffix(".key")
    if not key_file.exists():
        write_whole(key_file, key_pem(new_key()), SECRET_MODE)
    key, shown = read_private_key(key_file), _read_certificate(file)
    if (
        shown is None
        or not Issued.of(shown).lasts(now)
        or public_bytes(shown.public_key()) != public_bytes(key.public_key())
        or names_of(shown) != (alternative_names(addresses) if addresses else None)
    ):
        write_whole(file, certificate_pem(sign(key)).encode())
