"""Whose series have to leave the store, since their consent does not hold any more."""

from collections import Counter
from datetime import UTC, datetime

from client_app.data.fhir.gate import Gate, to_tombstone
from client_app.data.ingest.journal import Journal
from client_app.data.keys import Pseudonyms
from client_app.data.store.writer import StoreWriter
from federation.errors import DataError
from federation.site_store import open_store

# Somebody has said no, and means it; all else may be an error of the record, and come back.
_FOR_GOOD = frozenset({"opted-out", "denied"})


def check_consent(gate: Gate, journal: Journal, store: StoreWriter, pseudonyms: Pseudonyms) -> Counter[str]:
    """Take out whoever may not be used any more, and note when that was asked; how many patients, by rule.

    Raises:
        DataError: the record knows none of them, as one that has lost its patients; then nobody is taken out.
        RunError: as ``Gate.check``; the same.
    """
    asked = datetime.now(UTC)
    decisions = gate.check(journal.patients())
    if decisions and all(each.rule == "not-found" for each in decisions.values()):
        raise DataError(
            f"the record knows none of the {len(decisions)} patients whom the store has or had, so nobody is "
            "taken out; see whether it is whole, and whether ingest.fhir names the right one"
        )
    series = open_store(store.folder).series
    gone = to_tombstone({each.patient for each in series}, decisions, pseudonyms.patient)
    for patient, rule in gone.items():
        if rule in _FOR_GOOD:
            store.withdraw(patient, rule)
        for each in series:
            if each.patient == patient:
                store.retract(each.series, rule)
    left = {each.series for each in open_store(store.folder).series}
    for study, own in journal.series():
        if not left.issuperset(own):  # also where the store is an older copy than the journal
            journal.undo(study)
    store.consent_asked(asked)
    if gone:
        store.seal()
    return Counter(gone.values())
