"""The ledger as an auditor reads it: all of its books in a view of one moment, and nobody's pseudonym."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from client_app.custodian.ledger.budget import Budget, Charge, Membership, by_part, history_of
from client_app.custodian.ledger.cost import Cost, Part
from client_app.custodian.ledger.database import ReadOnlyDatabase
from client_app.custodian.ledger.studies import Proposal, Studies
from federation.errors import LedgerError


@dataclass(frozen=True)
class Reservation:
    """What one part of a study has set aside.

    Attributes:
        study: its id.
        part: who learns or who is measured.
        plan: all of its steps.
        started: when, UTC.
        ended: when the rest came back; None while it goes on.
        patients: how many it was set aside for.
        left: how many of them have withdrawn since.
    """

    study: str
    part: Part
    plan: Cost
    started: datetime
    ended: datetime | None
    patients: int
    left: int


@dataclass(frozen=True)
class Books:
    """See the module.

    Attributes:
        owner: fingerprint of the key by which its pseudonyms were made.
        proposals: every study that was asked for, the latest last.
        reservations: what studies have set aside, in the order they started.
        charges: every charge, in the order they were made.
        patients: how many have the same memberships, in the order that those came about; only patients who
            were ever in a study.
        withdrawn: how many have withdrawn, known from a study or not.
    """

    owner: str
    proposals: tuple[Proposal, ...]
    reservations: tuple[Reservation, ...]
    charges: tuple[Charge, ...]
    patients: Mapping[tuple[Membership, ...], int]
    withdrawn: int

    def charged(self, study: str, part: Part) -> Sequence[Charge]:
        """The charges of one part of a study."""
        return self._charged.get((study, part), ())

    def history(self, memberships: Sequence[Membership]) -> tuple[Cost, ...]:
        """What patients with these memberships have spent, or has been set aside for them."""
        return history_of(memberships, self._going, self._charged)

    @cached_property
    def _charged(self) -> Mapping[tuple[str, Part], Sequence[Charge]]:
        return by_part(self.charges)

    @cached_property
    def _going(self) -> Mapping[tuple[str, Part], Cost]:
        """What studies that go on have set aside."""
        return {(each.study, each.part): each.plan for each in self.reservations if each.ended is None}


def read_books(path: Path, *, check: bool = False) -> Books:
    """The ledger in the file ``path``; a custodian may be running.

    Args:
        path: the file.
        check: whether to have SQLite look at every page first.

    Raises:
        LedgerError: it is damaged, no ledger, or another release's.
        StorageError: it is not there, or cannot be read.
    """
    database = ReadOnlyDatabase(path)
    try:
        with database.reading():
            if check:
                database.check()
            return _books(database)
    except (TypeError, ValueError) as error:  # of a study or a date that is none
        raise LedgerError(f"{path} has a row that cannot be read; restore the newest copy") from error
    finally:
        database.close()


def _books(database: ReadOnlyDatabase) -> Books:
    with database.reading() as rows:
        memberships: dict[int, list[Membership]] = defaultdict(list)
        for patient, study, part, left_before in rows.execute(
            "SELECT patient, study, part, left_before FROM cohorts JOIN reservations USING (study, part) "
            "ORDER BY patient, started, study, part"
        ):
            memberships[patient].append(Membership(study, part, left_before))
        (withdrawn,) = rows.execute("SELECT count(*) FROM patients WHERE withdrawn IS NOT NULL").fetchone()
        reservations = [
            Reservation(
                study=study,
                part=part,
                plan=Cost(*cost),
                started=datetime.fromisoformat(started),
                ended=None if ended is None else datetime.fromisoformat(ended),
                patients=patients,
                left=left,
            )
            for study, part, started, ended, patients, left, *cost in rows.execute(
                "SELECT study, part, started, ended, count(patient), count(left_before), steps, "
                "sampling_rate, noise_everybody, noise_coordinator "
                "FROM reservations LEFT JOIN cohorts USING (study, part) "
                "GROUP BY study, part ORDER BY started, study, part"
            )
        ]
        return Books(
            owner=database.owner,
            proposals=tuple(Studies(database).all()),
            reservations=tuple(reservations),
            charges=tuple(Budget(database).charges()),
            patients=Counter(map(tuple, memberships.values())),
            withdrawn=int(withdrawn),
        )
