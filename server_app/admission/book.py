"""The book of who was admitted: what the gateway's lists and the SuperLink's nodes are made from."""

from base64 import b64encode
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Self

from cryptography import x509
from pydantic import AwareDatetime, Field, StringConstraints, ValidationError, model_validator

from federation.admission import Kind, Pem
from federation.audit_log import Digest
from federation.certificates import certificate_pem, public_bytes
from federation.enrolment import SECRET_MODE
from federation.errors import DataError, RefusedError
from federation.record_files import write_record
from federation.schema import Frozen, nearest
from federation.study import Name


class Issued(Frozen):
    """A certificate of a member.

    Attributes:
        serial: as hex digits.
        start: from when it is valid.
        expires: until when.
        pem: all of it.
    """

    serial: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{1,40}$")]
    start: AwareDatetime
    expires: AwareDatetime
    pem: Pem

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Self:
        """What the book keeps of ``certificate``."""
        return cls(
            serial=f"{certificate.serial_number:x}",
            start=certificate.not_valid_before_utc,
            expires=certificate.not_valid_after_utc,
            pem=certificate_pem(certificate),
        )

    @property
    def key(self) -> bytes:
        """The public key that it is for (DER)."""
        return public_bytes(x509.load_pem_x509_certificate(self.pem.encode()).public_key())

    def lasts(self, now: datetime) -> bool:
        """Whether more than a sixth of its time is left; with less, it is renewed."""
        return self.expires - now > (self.expires - self.start) / 6


class Revocation(Frozen):
    """When a member was put out, and why.

    Attributes:
        when: by the coordinator's clock.
        why: in its words.
    """

    when: AwareDatetime
    why: Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Member(Frozen):
    """A hospital or a researcher.

    Attributes:
        name: one name has one member that is not revoked.
        kind: what it is.
        node_key: the public key of a hospital's SuperNode, in PEM as Flower keeps it.
        identity: the public key of a hospital's custodian, as hex digits.
        certificates: all that were issued, the newest last.
        revoked: None as long as it is a member.
    """

    name: Name
    kind: Kind
    node_key: Pem | None
    identity: Digest | None
    certificates: Annotated[tuple[Issued, ...], Field(min_length=1)]
    revoked: Revocation | None = None

    @property
    def newest(self) -> Issued:
        """The certificate that was issued last."""
        return self.certificates[-1]

    def certificate_of(self, key: bytes) -> Issued | None:
        """The newest certificate for a public key (DER)."""
        return next((one for one in reversed(self.certificates) if one.key == key), None)


class Book(Frozen):
    """See the module.

    Attributes:
        version: rises by every change.
        members: all that ever were, in the order in which they came.
    """

    version: Annotated[int, Field(ge=0)] = 0
    members: tuple[Member, ...] = ()

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        names = [member.name for member in self.admitted]
        keys = [member.node_key for member in self.members if member.node_key is not None]
        if len(set(names)) != len(names) or len(set(keys)) != len(keys):
            raise ValueError("a name or a SuperNode's key is there twice")
        return self

    @property
    def admitted(self) -> tuple[Member, ...]:
        """Those who are members now."""
        return tuple(member for member in self.members if member.revoked is None)

    @property
    def nodes(self) -> dict[str, str]:
        """The names of admitted hospitals by their SuperNodes' keys."""
        return {member.node_key: member.name for member in self.admitted if member.node_key is not None}

    @property
    def nodes_map(self) -> str:
        """What nginx maps to 1: a certificate's name with the key that its SuperNode says it has.

        Flower's header ``flwr-public-key`` holds the key's PEM in base64.
        """
        pairs = sorted((name, b64encode(key.encode()).decode()) for key, name in self.nodes.items())
        return "".join(f'"{name}:{key}" 1;\n' for name, key in pairs)

    def revoked(self, kind: Kind) -> Iterator[tuple[int, datetime]]:
        """The serials that an authority has taken back, each with its day."""
        for member in self.members:
            if member.kind == kind and member.revoked is not None:
                for issued in member.certificates:
                    yield int(issued.serial, 16), member.revoked.when

    def admitted_as(self, name: str) -> Member | None:
        """The member of that name, if there is one."""
        return next((member for member in self.admitted if member.name == name), None)

    def add(self, member: Member) -> "Book":
        """The book with ``member`` in it, in the place of whoever was admitted under its name."""
        others = tuple(one for one in self.members if one.revoked is not None or one.name != member.name)
        return Book(version=self.version + 1, members=(*others, member))

    def revoke(self, name: str, revocation: Revocation) -> "Book":
        """The book in which ``name`` is no member; who is none already stays as it was put out.

        Raises:
            RefusedError: nobody of that name was ever one.
        """
        member = self.admitted_as(name)
        if member is not None:
            return self.add(member.model_copy(update={"revoked": revocation}))
        names = {one.name for one in self.members}
        if name not in names:
            raise RefusedError("no-member", f"{name!r} was never admitted; {nearest(name, names)}")
        return self


def read_book(path: Path) -> Book:
    """The book at ``path``.

    Raises:
        DataError: it cannot be read, or is none.
    """
    try:
        return Book.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); restore it from the backup") from error
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise DataError(f"{path} is no book ({problem['msg']}); restore it from the backup") from error


def write_book(path: Path, book: Book) -> None:
    """Replace the book at ``path``, whole and durably.

    Raises:
        StorageError: the disk did not take it; the book is as it was.
    """
    write_record(path, book, SECRET_MODE)
