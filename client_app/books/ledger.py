"""Whether the ledger is whole, and agrees with the audit log and with what was approved."""

from collections.abc import Iterator
from pathlib import Path

from client_app.books.audit import log_folder, read_log
from client_app.books.findings import Finding
from client_app.custodian.keys import SiteKeys
from client_app.custodian.ledger.books import Books, Reservation, read_books
from client_app.custodian.ledger.budget import Charge
from client_app.custodian.witness import told_charges, untold
from client_app.site import HospitalConfig
from federation.audit_log import BEFORE_THE_FIRST, Link
from federation.errors import WardroundError

_RESTORE = "restore the newest copy of the whole service folder"
_SHORT = 12


def ledger_file(config: HospitalConfig) -> Path:
    """Where the hospital's ledger lies."""
    return config.service.folder / "ledger.sqlite"


def ledger_findings(config: HospitalConfig) -> Iterator[Finding]:
    """Look at the hospital's ledger, from its pages to what it says; a custodian may be running."""
    log, unreadable = _log(config)
    try:
        books = read_books(ledger_file(config), check=True)
    except WardroundError as error:
        yield Finding("file", "problem", str(error), _RESTORE)
        return
    said = f"every page is whole (studies: {len(books.proposals)}, charges: {len(books.charges)})"
    yield Finding("file", "ok", said)
    yield _owner(config, books)
    yield unreadable or _against_the_log(config, books, log)
    yield _within_reservations(books)
    yield _approved(books)


def _log(config: HospitalConfig) -> tuple[list[Link], Finding | None]:
    try:
        return read_log(log_folder(config)), None
    except WardroundError as error:
        return [], Finding("audit log", "problem", str(error), _RESTORE)


def _owner(config: HospitalConfig, books: Books) -> Finding:
    try:
        keys = SiteKeys.found_in(config.service.folder)
    except WardroundError as error:
        return Finding("keys", "problem", str(error), "restore the keys that belong to this ledger")
    if books.owner != keys.owner:
        return Finding(
            "keys",
            "problem",
            "the ledger was written with another key for pseudonyms than lies in keys/",
            "restore the keys that belong to it",
        )
    return Finding("keys", "ok", "its pseudonyms are made with this hospital's key")


def _against_the_log(config: HospitalConfig, books: Books, before: list[Link]) -> Finding:
    """``before`` was read before the books; what a running custodian wrote since is read again."""
    try:
        log = read_log(log_folder(config))

        def has(sequence: int, digest: str) -> bool:
            if sequence > len(log):
                return False
            return digest == (log[sequence - 1].hash if sequence else BEFORE_THE_FIRST)

        missing = untold(told_charges(link.entry for link in before), books.charges, has)
        told = told_charges(link.entry for link in log)
    except WardroundError as error:
        return Finding("audit log", "problem", str(error), _RESTORE)
    missing = [charge for charge in missing if charge.number not in told]
    if not missing:
        return Finding("audit log", "ok", "it names every charge, and holds all that the ledger saw of it")
    remedy = "the custodian writes it down when it next starts"
    found = f"charge {missing[0].number} is not in the audit log"
    # A round is charged before the log says so, and its process may be at that point, or have died there.
    underway = [charge.number for charge in missing] == [len(books.charges)] and missing[0].released is None
    return Finding("audit log", "warning" if underway else "problem", found, remedy)


def _within_reservations(books: Books) -> Finding:
    reserved = {(each.study, each.part): each for each in books.reservations}
    for charge in books.charges:
        fault = _fault(charge, reserved.get((charge.study, charge.part)))
        if fault:
            found = f"charge {charge.number}, round {charge.round} of study {charge.study[:_SHORT]}: {fault}"
            return Finding("spends", "problem", found, _RESTORE)
    return Finding("spends", "ok", "every charge lies within what its study has set aside")


def _fault(charge: Charge, reservation: Reservation | None) -> str:
    """What a charge takes that was not set aside; empty if nothing."""
    if reservation is None:
        return "nothing was set aside for it"
    cost, plan = charge.cost, reservation.plan
    if charge.steps > plan.steps:
        return f"{charge.steps} steps were charged, and {plan.steps} set aside"
    if cost.sampling_rate > plan.sampling_rate:
        return f"it samples with {cost.sampling_rate:g}, and {plan.sampling_rate:g} was set aside"
    for noise, planned in (
        (cost.noise_everybody, plan.noise_everybody),
        (cost.noise_coordinator, plan.noise_coordinator),
    ):
        if planned is not None and (noise is None or noise < planned):
            return f"its noise is {noise or 0:g}, and {planned:g} was promised"
    return ""


def _approved(books: Books) -> Finding:
    approved = {p.study.id for p in books.proposals if p.approval is not None}
    for each in books.reservations:
        if each.study not in approved:
            found = f"study {each.study[:_SHORT]} has set budget aside, and nobody has approved it"
            return Finding("approvals", "problem", found, _RESTORE)
    return Finding("approvals", "ok", "every study that has set budget aside was approved")
