"""Who may become a member, stay one, and stop being one."""

from datetime import datetime
from typing import Literal, NamedTuple

from federation.admission import Kit, Request, node_pem
from federation.certificates import public_bytes
from federation.errors import RefusedError
from federation.schema import validated
from server_app.admission.book import Book, Issued, Member, Revocation
from server_app.admission.folder import Folder
from server_app.admission.superlink_client import USED_KEY

Step = Literal["new", "renewal", "again"]


class Admission(NamedTuple):
    """What a request leads to.

    Attributes:
        step: somebody ``new``, a ``renewal`` of the certificate, or the one that was issued ``again``.
        member: who asks, as the book has them; None if new.
    """

    step: Step
    member: Member | None


def considered(book: Book, request: Request, now: datetime) -> Admission:
    """Hold a request against the book.

    The same keys under the same name are the same member, who gets the same certificate, or near its end a
    new one. A hospital may also bring a new client key, since its SuperNode's key shows who it is.

    Raises:
        RefusedError: another has the name or one of the keys, or a key was revoked.
    """
    member = book.admitted_as(request.name)
    if member is None:
        _require_unknown_keys(book, request)
        return Admission("new", None)
    issued = _require_same(book, member, request)
    if issued is not None and issued.lasts(now):
        return Admission("again", member)
    return Admission("renewal", member)


def admit(folder: Folder, request: Request, now: datetime) -> Kit:
    """Make somebody a member, or renew the certificate of one; cut short, run again.

    Certificates that were issued before stay valid until they expire: the member goes on with them until the
    new one is installed. Who has lost a key is revoked.

    Raises:
        RefusedError: see ``considered``.
        ConfigError: the folder or its settings are none.
        DataError: a file in it is not what it should be.
        StorageError: the disk did not take it.
    """
    with folder.changing():
        book, settings = folder.book, folder.settings
        step, member = considered(book, request, now)
        known = None if member is None else member.certificate_of(public_bytes(request.key))
        if step == "again" and known is not None:
            issued = known
            folder.refresh(now)
        else:
            authority = folder.member_authority(request.kind)
            issued = Issued.of(authority.client(request.name, request.key, settings.days, now))
            folder.keep(book.add(_with(member, request, issued)), now)
        return Kit(
            name=request.name,
            kind=request.kind,
            federation=settings.name,
            address=settings.address,
            sites_port=settings.sites_port,
            control_port=settings.control_port,
            certificate=issued.pem,
            authority=(folder.administrator / "coordinator.crt").read_text(),
        )


def revoke(folder: Folder, name: str, why: str, now: datetime) -> None:
    """Put a member out, with all certificates; said twice, it changes nothing.

    Raises:
        RefusedError: nobody of that name was ever a member.
        ConfigError: the folder or its settings are none, or ``why`` is empty or longer than 200 letters.
        DataError: a file in it is not what it should be.
        StorageError: the disk did not take it.
    """
    revocation = validated(Revocation, {"when": now, "why": why}, "revoke")
    with folder.changing():
        folder.keep(folder.book.revoke(name, revocation), now)


def _with(member: Member | None, request: Request, issued: Issued) -> Member:
    if member is not None:
        return member.model_copy(update={"certificates": (*member.certificates, issued)})
    return Member(
        name=request.name,
        kind=request.kind,
        node_key=_node(request),
        identity=_identity(request),
        certificates=(issued,),
    )


def _require_same(book: Book, member: Member, request: Request) -> Issued | None:
    """The member's certificate for the key that is asked with; None for a key that is new."""
    issued = member.certificate_of(public_bytes(request.key))
    same = (member.kind, member.node_key, member.identity) == (
        request.kind,
        _node(request),
        _identity(request),
    )
    if not same or (request.kind == "researcher" and issued is None):
        raise RefusedError(
            "name-taken",
            f"{request.name} is the name of a {member.kind} with other keys; if those are lost, "
            f"wardround-coordinator revoke {request.name} first, else ask for another name",
        )
    if issued is None:
        _require_unknown_client_key(book, request)
    return issued


def _require_unknown_keys(book: Book, request: Request) -> None:
    for member in book.members:
        if request.node_key is not None and member.node_key == _node(request):
            if member.revoked is not None:
                raise RefusedError("node-key-revoked", f"{member.name} had this SuperNode's key. {USED_KEY}")
            raise RefusedError(
                "node-key-taken", f"{member.name} has this SuperNode's key; ask for a request with its own"
            )
        if member.revoked is None and member.identity is not None and member.identity == _identity(request):
            raise RefusedError(
                "identity-taken",
                f"{member.name} has this custodian's identity; one custodian is one hospital, so revoke "
                f"{member.name} first if it has another name now",
            )
    _require_unknown_client_key(book, request)


def _require_unknown_client_key(book: Book, request: Request) -> None:
    key = public_bytes(request.key)
    for member in book.members:
        if member.certificate_of(key) is not None:
            had = "had" if member.revoked is not None else "has"
            raise RefusedError(
                "client-key-used",
                f"{member.name} {had} this client key; ask for a request with a new one, which init --force "
                "makes",
            )


def _node(request: Request) -> str | None:
    return None if request.node_key is None else node_pem(request.node)


def _identity(request: Request) -> str | None:
    return None if request.identity is None else request.identity.key
