"""Members and requests as the coordinator's people see them."""

from datetime import datetime

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from federation.admission import Request
from federation.command_line import printable
from server_app.admission.book import Issued, Member
from server_app.admission.folder import Folder
from server_app.admission.members import Admission

_STEPS = {
    "new": "somebody new",
    "renewal": "a renewal of the certificate",
    "again": "admitted already; the same kit again",
}


def member_table(folder: Folder, now: datetime) -> Table:
    """Everybody who ever was a member, and the coordinator's own certificates."""
    table = Table(box=SIMPLE_HEAD)
    for column in ("name", "kind", "expires", "state"):
        table.add_column(column, overflow="fold")
    for member in folder.book.members:
        table.add_row(member.name, member.kind, _day(member.newest), _state(member, now))
    for who, issued in folder.own_certificates.items():
        table.add_row(who, "", _day(issued), _validity(issued, now, "sync renews it"))
    return table


def request_table(request: Request, admission: Admission) -> Table:
    """Who asks for what, in words."""
    table = Table(box=SIMPLE_HEAD, show_header=False)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    table.add_row(f"{request.kind}", request.name)
    table.add_row("is", _STEPS[admission.step])
    if request.identity is not None:
        table.add_row("its custodian", request.identity.words)
    table.add_row("words", request.words)
    return table


def _state(member: Member, now: datetime) -> str:
    if member.revoked is not None:
        return f"revoked {member.revoked.when:%Y-%m-%d}: {escape(printable(member.revoked.why))}"
    return _validity(member.newest, now, f"ask {member.name} to renew")


def _validity(issued: Issued, now: datetime, remedy: str) -> str:
    if issued.expires <= now:
        return f"EXPIRED; {remedy}"
    return "valid" if issued.lasts(now) else f"expires soon; {remedy}"


def _day(issued: Issued) -> str:
    return f"{issued.expires:%Y-%m-%d}"
