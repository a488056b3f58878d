"""What each patient has spent: set aside when a study starts, charged before each round, released with it.

A study's whole cost is set aside for each of its patients when it starts here, and what it has not used comes
back when it ends. Within it every round is charged before it is computed. A round that dies between its
charge and its release stays charged, so the ledger never knows of less than has left.

Guarantee: unit = patient, adjacency = add or remove one patient. Of the patients that ``start`` lets in, each
one's history with the whole new study stays within the cap. Assumption: whoever trains does so only after
``reserve`` has returned, on no more than its patients, and with the noise that was reserved.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from sqlite3 import Connection
from typing import NamedTuple

from client_app.custodian.ledger.cost import Cap, Cost, Part
from client_app.custodian.ledger.database import Database
from federation.errors import RefusedError

Mark = tuple[int, str]
"""Where an audit log ends: the sequence and the hash of its last entry."""

_COST = "steps, sampling_rate, noise_everybody, noise_coordinator"


@dataclass(frozen=True)
class Charge:
    """One round that was charged.

    Attributes:
        number: counts all charges of this site from 1; what an entry of the audit log refers to.
        study: its id.
        part: who learnt or who measured.
        round: of the study.
        asked: SHA-256 of what the round was asked with.
        cost: of this round.
        log: where the audit log ended when it was made, or released.
        reserved: when, UTC.
        released: when its result left; None if it never has.
        steps: charged in this study and part so far, this round among them.
    """

    number: int
    study: str
    part: Part
    round: int
    asked: str
    cost: Cost
    log: Mark
    reserved: str
    released: str | None
    steps: int


class Membership(NamedTuple):
    """That a patient takes part in a study.

    Attributes:
        study: its id.
        part: who learns or who is measured.
        left_before: the first charge that the patient is no longer part of; None for nobody who withdrew.
    """

    study: str
    part: Part
    left_before: int | None

    def bears(self, charge: Charge) -> bool:
        """Whether such a patient was in a round of this study and part that was charged."""
        return self.left_before is None or charge.number < self.left_before


def by_part(charges: Iterable[Charge]) -> Mapping[tuple[str, Part], Sequence[Charge]]:
    """The charges of each part of each study."""
    found: dict[tuple[str, Part], list[Charge]] = defaultdict(list)
    for charge in charges:
        found[charge.study, charge.part].append(charge)
    return found


def history_of(
    memberships: Iterable[Membership],
    going: Mapping[tuple[str, Part], Cost],
    charged: Mapping[tuple[str, Part], Sequence[Charge]],
) -> tuple[Cost, ...]:
    """What patients with these memberships have spent.

    Of a study that goes on that is all of it, since the rest is set aside; else what was charged.

    Args:
        memberships: theirs.
        going: what studies that go on have set aside.
        charged: ``by_part``.
    """
    costs: list[Cost] = []
    for each in memberships:
        place = each.study, each.part
        if place in going and each.left_before is None:
            costs.append(going[place])
        else:
            costs += [charge.cost for charge in charged.get(place, ()) if each.bears(charge)]
    return tuple(costs)


class Budget:
    """The patients' accounts.

    Args:
        database: where they are kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def start(
        self,
        study: str,
        part: Part,
        plan: Cost,
        patients: Collection[str],
        *,
        cap: Cap | None,
        accept: Callable[[frozenset[str]], None],
    ) -> frozenset[str]:
        """Set a study's whole cost aside, the first time, and say who takes part.

        Args:
            study: its id; the ledger has to know the study.
            part: who learns or who measures.
            plan: all of its steps.
            patients: pseudonyms of those who are there; who has withdrawn is left out.
            cap: whoever has no budget left under it is left out; None for no cap.
            accept: is told who would take part before anything is set aside; what it raises ends it.

        Returns:
            The pseudonyms of those who take part: of a study that goes on, never more than it started with.

        """
        with self._database.writing() as rows:
            if _plan(rows, study, part) is None:
                numbers = _with_budget(rows, _numbers(rows, patients), plan, cap)
                _begin(rows, study, part, plan, numbers)
            members = frozenset(
                row[0]
                for row in rows.execute(
                    "SELECT pseudonym FROM cohorts JOIN patients ON number = patient "
                    "WHERE study = ? AND part = ? AND left_before IS NULL",
                    (study, part),
                )
            ).intersection(patients)
            accept(members)
        return members

    def reserve(
        self, study: str, part: Part, *, round_number: int, asked: str, cost: Cost, log: Mark
    ) -> Charge:
        """Charge a round before anything is computed for it.

        The round that was charged last may be asked for again with the same model, and costs nothing more:
        its answer either lies on disk, and is the one that is given, or has never left.

        Args:
            study: the id of a study that has started.
            part: who learns or who measures.
            round_number: later than every one before.
            asked: SHA-256 of what the round was asked with.
            cost: of this round.
            log: where the audit log ends now.

        Raises:
            RefusedError: the round's noise may have been used already, the study has ended, or has no steps
                left.
        """
        with self._database.writing() as rows:
            last = _last(rows, study, part)
            if last is not None and (round_number, asked) == (last.round, last.asked):
                return last
            plan = _plan(rows, study, part)
            if plan is None or plan[1] is not None:
                raise RefusedError("study-ended", "this study has not started here, or has ended")
            if last is not None and round_number <= last.round:
                raise RefusedError(
                    "round-burnt", f"round {round_number} was begun before; ask for a later one"
                )
            if cost.steps + (0 if last is None else last.steps) > plan[0]:
                raise RefusedError("steps-exhausted", f"the study has {plan[0]} steps, all used")
            rows.execute(
                f"INSERT INTO spends (study, part, round, asked, {_COST}, log_sequence, log_hash, reserved) "  # noqa: S608
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (study, part, round_number, asked, *astuple(cost), *log, _now()),
            )
            return _charges(rows, study)[-1]

    def release(self, number: int, sha256: str, log: Mark) -> None:
        """Note that what charge ``number`` paid for may now leave; the audit log, which ends there, says so.

        ``sha256`` is of its bytes.
        """
        with self._database.writing() as rows:
            rows.execute(
                "UPDATE spends SET released = ?, sha256 = ?, log_sequence = ?, log_hash = ? "
                "WHERE number = ? AND released IS NULL",
                (_now(), sha256, *log, number),
            )

    def end(self, study: str, part: Part | None = None) -> None:
        """Give back what a study, or one part of it, has set aside and not used."""
        with self._database.writing() as rows:
            rows.execute(
                "UPDATE reservations SET ended = ? "
                "WHERE study = ? AND ended IS NULL AND part = ifnull(?, part)",
                (_now(), study, part),
            )

    def started(self, study: str, part: Part) -> bool:
        """Whether the study's cost was ever set aside."""
        with self._database.reading() as rows:
            return _plan(rows, study, part) is not None

    def last(self, study: str, part: Part) -> Charge | None:
        """The study's last charge; None before the first."""
        with self._database.reading() as rows:
            return _last(rows, study, part)

    def charges(self, study: str | None = None) -> list[Charge]:
        """Every charge, of one study or of all, in the order they were made."""
        with self._database.reading() as rows:
            return _charges(rows, study)

    def histories(self) -> Mapping[str, tuple[Cost, ...]]:
        """What each patient has spent, or has set aside, by pseudonym."""
        with self._database.reading() as rows:
            names = dict(rows.execute("SELECT number, pseudonym FROM patients"))
            return {names[number]: history for number, history in _histories(rows).items()}


def _numbers(rows: Connection, pseudonyms: Collection[str]) -> list[int]:
    """The numbers of those who have not withdrawn; patients seen for the first time get one."""
    ordered = sorted(pseudonyms)
    rows.executemany("INSERT OR IGNORE INTO patients (pseudonym) VALUES (?)", [(name,) for name in ordered])
    known = dict(rows.execute("SELECT pseudonym, number FROM patients WHERE withdrawn IS NULL"))
    return [known[name] for name in ordered if name in known]


def _with_budget(rows: Connection, numbers: list[int], plan: Cost, cap: Cap | None) -> list[int]:
    """Those of the patients whose history leaves room for the whole plan."""
    if cap is None:
        return numbers
    spent = _histories(rows)
    # Most patients share their history with many others.
    allowed = {history: cap.allows(history, plan) for history in {(), *spent.values()}}
    return [number for number in numbers if allowed[spent.get(number, ())]]


def _begin(rows: Connection, study: str, part: Part, plan: Cost, numbers: list[int]) -> None:
    """Set ``plan`` aside for the patients with these numbers."""
    rows.execute(
        f"INSERT INTO reservations (study, part, {_COST}, started) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
        (study, part, *astuple(plan), _now()),
    )
    rows.executemany(
        "INSERT INTO cohorts (study, part, patient) VALUES (?, ?, ?)",
        [(study, part, number) for number in numbers],
    )


def _plan(rows: Connection, study: str, part: Part) -> tuple[int, str | None] | None:
    """The steps set aside and when that ended; None before the study has started."""
    found: tuple[int, str | None] | None = rows.execute(
        "SELECT steps, ended FROM reservations WHERE study = ? AND part = ?", (study, part)
    ).fetchone()
    return found


def _charges(rows: Connection, study: str | None) -> list[Charge]:
    found = rows.execute(
        f"SELECT number, study, part, round, asked, log_sequence, log_hash, reserved, released, {_COST}, "  # noqa: S608
        "sum(steps) OVER (PARTITION BY study, part ORDER BY number) "
        "FROM spends WHERE study = ifnull(?, study) ORDER BY number",
        (study,),
    )
    return [
        Charge(
            number=row[0],
            study=row[1],
            part=row[2],
            round=row[3],
            asked=row[4],
            log=(row[5], row[6]),
            reserved=row[7],
            released=row[8],
            cost=Cost(*row[9:13]),
            steps=row[13],
        )
        for row in found
    ]


def _last(rows: Connection, study: str, part: Part) -> Charge | None:
    return next((charge for charge in reversed(_charges(rows, study)) if charge.part == part), None)


def _histories(rows: Connection) -> dict[int, tuple[Cost, ...]]:
    """What each patient has spent, by number."""
    reservations = rows.execute(f"SELECT study, part, {_COST} FROM reservations WHERE ended IS NULL")  # noqa: S608
    going = {(study, part): Cost(*cost) for study, part, *cost in reservations}
    charged = by_part(_charges(rows, None))
    memberships: dict[int, list[Membership]] = defaultdict(list)
    for patient, *membership in rows.execute(
        "SELECT patient, study, part, left_before FROM cohorts ORDER BY patient, study, part"
    ):
        memberships[patient].append(Membership(*membership))
    keys = {patient: tuple(each) for patient, each in memberships.items()}
    shared = {key: history_of(key, going, charged) for key in set(keys.values())}
    return {patient: shared[key] for patient, key in keys.items()}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
