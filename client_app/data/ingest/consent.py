"""Whose series have to leave the store, since their consent does not hold any more."""

from collections import Counter
from datetime import UTC, datetime

from client_app.data.fhir.gate import ConsentGate, to_tombstone
from client_app.data.ingest.journal import Journal
from client_app.data.keys import Pseudonyms
from client_app.data.store.writer import StoreWriter
from federation.site_store import open_store

# Somebody has said no, and means it; all else may be an error of the record, and come back.
_FOR_GOOD = frozenset({"opted-out", "denied"})


def check_consent(
    gate: ConsentGate, journal: Journal, store: StoreWriter, pseudonyms: Pseudonyms
) -> Counter[str]:
    """Take out whoever may not be used any more, and note when that was asked; how many patients, by rule.

    Raises:
        DataError, RunError: as ``ConsentGate.check``; then nobody is taken out.
    """
    asked = datetime.now(UTC)
    decisions = gate.check(journal.patients())
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
        if own and not left.intersection(own):
            journal.forget(study)
    store.consent_asked(asked)
    return Counter(gone.values())
