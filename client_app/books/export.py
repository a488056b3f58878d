"""The ledger as one file for an auditor: studies, approvals, reservations and charges; of patients, counts.

A pseudonym is never part of it: whoever has the key could find its patient again.
"""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from client_app.books.statement import Statement, StudyAccount
from client_app.books.told import told
from client_app.custodian.ledger.books import Books, Reservation
from client_app.custodian.ledger.budget import Charge
from client_app.custodian.ledger.cost import Cost
from federation.errors import ConfigError
from federation.files import write_whole

Row = dict[str, Any]
# What makes a spreadsheet compute instead of show.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def export(statement: Statement, books: Books, path: Path) -> None:
    """Write ``path``, whole or not at all, as JSON or CSV by its ending.

    Raises:
        ConfigError: the ending is another one, or the file is there already.
        StorageError: the disk did not take it.
    """
    formats = {".json": _json, ".csv": _csv}
    if path.suffix not in formats:
        raise ConfigError(f"--to {path} ends in neither .json nor .csv, which say what to write")
    if path.exists():
        raise ConfigError(f"--to {path} is there already, and is not written over; choose another name")
    write_whole(path, formats[path.suffix](statement, _tables(statement, books)).encode())


def _tables(statement: Statement, books: Books) -> dict[str, list[Row]]:
    minimum = statement.policy.minimum_patients
    return {
        "studies": [_study(each) for each in statement.studies],
        "approvals": [row for each in statement.studies for row in _approval(each)],
        "reservations": [_reservation(each, minimum) for each in books.reservations],
        "charges": [_charge(each) for each in books.charges],
        "patients": [
            *(
                {"what": f"have used of the lifetime's cap: {band}", "patients": told(count, minimum)}
                for band, count in statement.patients.bands.items()
            ),
            {"what": "have withdrawn", "patients": told(statement.patients.withdrawn, minimum)},
            {"what": "the most that anybody has given", "epsilon": _finite(statement.patients.most)},
            {"what": "given by the one in the middle", "epsilon": _finite(statement.patients.median)},
        ],
    }


def _study(account: StudyAccount) -> Row:
    study, revoked = account.proposal.study, account.proposal.revoked
    return {
        "study": study.id,
        "title": study.title,
        "purpose": study.purpose,
        "asked": account.proposal.asked.isoformat(),
        "state": account.state,
        "revoked_by": account.proposal.revoked_by,
        "revoked": None if revoked is None else revoked.isoformat(),
        "rounds": study.rounds,
        "rounds_charged": account.rounds_charged,
        "rounds_released": account.rounds_released,
        "steps": account.steps,
        "steps_set_aside": account.set_aside,
        "epsilon": _finite(account.epsilon),
        "epsilon_set_aside": _finite(account.epsilon_set_aside),
        "epsilon_everybody": _finite(account.everybody),
        "epsilon_everybody_set_aside": _finite(account.everybody_set_aside),
        "delta": study.privacy.delta,
    }


def _approval(account: StudyAccount) -> Sequence[Row]:
    approval = account.proposal.approval
    if approval is None:
        return ()
    row: Row = {
        "study": account.proposal.study.id,
        "by": approval.by,
        "at": approval.at.isoformat(),
        "until": approval.until.isoformat(),
        "epsilon_cap": approval.epsilon_cap,
        "release": approval.release,
    }
    return (row,)


def _reservation(reservation: Reservation, minimum: int) -> Row:
    ended = reservation.ended
    return {
        "study": reservation.study,
        "part": reservation.part,
        **_cost(reservation.plan),
        "started": reservation.started.isoformat(),
        "ended": None if ended is None else ended.isoformat(),
        "patients": told(reservation.patients, minimum),
        "left": told(reservation.left, minimum),
    }


def _charge(charge: Charge) -> Row:
    return {
        "number": charge.number,
        "study": charge.study,
        "part": charge.part,
        "round": charge.round,
        "asked": charge.asked,
        **_cost(charge.cost),
        "log_sequence": charge.log[0],
        "log_hash": charge.log[1],
        "reserved": charge.reserved,
        "released": charge.released,
    }


def _cost(cost: Cost) -> Row:
    return {
        "steps": cost.steps,
        "sampling_rate": cost.sampling_rate,
        "noise_everybody": cost.noise_everybody,
        "noise_coordinator": cost.noise_coordinator,
    }


def _finite(epsilon: float) -> float | None:
    """JSON has no infinity: no bound is null."""
    return epsilon if math.isfinite(epsilon) else None


def _json(statement: Statement, tables: Mapping[str, Sequence[Row]]) -> str:
    lifetime = statement.policy.lifetime
    content = {
        "site": statement.site,
        "made": statement.made.isoformat(timespec="seconds"),
        "lifetime": lifetime.model_dump(mode="json"),
        "minimum_patients": statement.policy.minimum_patients,
        **tables,
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _csv(statement: Statement, tables: Mapping[str, Sequence[Row]]) -> str:
    """One table of all: the first column says what a row is about, what it does not have is empty."""
    about = {"site": statement.site, "made": statement.made.isoformat(timespec="seconds")}
    about |= {f"lifetime_{name}": value for name, value in statement.policy.lifetime}
    rows = [{"table": "statement", **about}]
    rows += [{"table": name, **row} for name, table in tables.items() for row in table]
    written = StringIO()
    columns = dict.fromkeys(name for row in rows for name in row)
    writer = csv.DictWriter(written, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return written.getvalue()


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
