"""The studies that were asked for at this site, and who approved them here."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from sqlite3 import Connection
from typing import Any, Literal

from client_app.custodian.ledger.database import Database
from federation.errors import ConfigError, RefusedError
from federation.study import Study

# More than anybody reads; somebody who fills an inbox must not fill the disk.
_MOST_WAITING = 100


@dataclass(frozen=True)
class Approval:
    """What somebody at the hospital has agreed to.

    Attributes:
        by: who.
        at: when, UTC.
        until: the last day.
        epsilon_cap: the study stops here before it has cost a patient more; None where it promises nothing.
        release: of the program that was installed; another one needs an approval of its own.
    """

    by: str
    at: datetime
    until: date
    epsilon_cap: float | None
    release: str


@dataclass(frozen=True)
class Proposal:
    """A study as this site knows it.

    Attributes:
        study: what is proposed.
        asked: when it came, UTC.
        approval: None as long as nobody has agreed.
        revoked_by: who took the approval back; None if nobody did.
        revoked: when, UTC.
    """

    study: Study
    asked: datetime
    approval: Approval | None
    revoked_by: str | None
    revoked: datetime | None

    @property
    def state(self) -> Literal["waiting", "approved", "revoked"]:
        """Where it stands."""
        if self.revoked_by is not None:
            return "revoked"
        return "waiting" if self.approval is None else "approved"


class Studies:
    """The inbox and what became of it.

    Args:
        database: where it is kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def ask(self, study: Study) -> bool:
        """Put a study that is not known into the inbox; whether it was new.

        Raises:
            RefusedError: there are too many that nobody has looked at.
        """
        with self._database.writing() as rows:
            if _find(rows, study.id) is not None:
                return False
            waiting = "SELECT count(*) FROM studies WHERE approver IS NULL AND revoker IS NULL"
            if rows.execute(waiting).fetchone()[0] >= _MOST_WAITING:
                raise RefusedError("inbox-full", f"{_MOST_WAITING} studies wait for this hospital already")
            rows.execute(
                "INSERT INTO studies (id, json, asked) VALUES (?, ?, ?)",
                (study.id, study.canonical_json, datetime.now(UTC).isoformat(timespec="seconds")),
            )
        return True

    def find(self, study_id: str) -> Proposal | None:
        """The study with this id; None if it was never asked for."""
        with self._database.reading() as rows:
            return _find(rows, study_id)

    def named(self, beginning: str) -> Proposal:
        """The one study whose id begins so, as people type it.

        Raises:
            ConfigError: there is none, or there are several.
        """
        found = [p for p in self.all() if p.study.id.startswith(beginning)] if beginning else []
        if len(found) != 1:
            known = ", ".join(p.study.id[:12] for p in found or self.all()) or "none was ever asked for"
            what = "several studies begin so" if found else "no study here begins so"
            raise ConfigError(f"STUDY={beginning!r}: {what}; there are: {known}")
        return found[0]

    def all(self) -> list[Proposal]:
        """Every study, the latest last."""
        with self._database.reading() as rows:
            return [_proposal(row) for row in rows.execute(f"{_SELECT} ORDER BY asked, id")]

    def approve(self, study_id: str, approval: Approval) -> None:
        """Agree to a study that waits, or anew to one that is approved.

        Raises:
            ConfigError: the study is not known, or was revoked, which is for good.
        """
        with self._database.writing() as rows:
            known = _find(rows, study_id)
            if known is None:
                raise ConfigError(f"study {study_id[:12]} was never asked for here")
            if known.state == "revoked":
                raise ConfigError(f"study {study_id[:12]} was revoked for good; propose another")
            rows.execute(
                "UPDATE studies SET approver = ?, approved = ?, until = ?, epsilon_cap = ?, release = ? "
                "WHERE id = ?",
                (
                    approval.by,
                    approval.at.isoformat(timespec="seconds"),
                    approval.until.isoformat(),
                    approval.epsilon_cap,
                    approval.release,
                    study_id,
                ),
            )

    def revoke(self, study_id: str, by: str) -> None:
        """Take an approval back, or refuse one that waits, for good.

        Raises:
            ConfigError: the study is not known.
        """
        with self._database.writing() as rows:
            if _find(rows, study_id) is None:
                raise ConfigError(f"study {study_id[:12]} was never asked for here")
            rows.execute(
                "UPDATE studies SET revoker = ?, revoked = ? WHERE id = ? AND revoker IS NULL",
                (by, datetime.now(UTC).isoformat(timespec="seconds"), study_id),
            )


_SELECT = "SELECT json, asked, approver, approved, until, epsilon_cap, release, revoker, revoked FROM studies"


def _find(rows: Connection, study_id: str) -> Proposal | None:
    row = rows.execute(f"{_SELECT} WHERE id = ?", (study_id,)).fetchone()
    return None if row is None else _proposal(row)


def _proposal(row: tuple[Any, ...]) -> Proposal:
    study, asked, by, at, until, cap, release, revoker, revoked = row
    approval = None
    if by is not None:
        approval = Approval(by, datetime.fromisoformat(at), date.fromisoformat(until), cap, release)
    return Proposal(
        study=Study.model_validate_json(study),
        asked=datetime.fromisoformat(asked),
        approval=approval,
        revoked_by=revoker,
        revoked=None if revoked is None else datetime.fromisoformat(revoked),
    )
