"""Whose series have to leave the store, since their consent does not hold any more."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from client_app.data.fhir.consent import Decision
from client_app.data.fhir.gate import FOR_GOOD, to_tombstone
from client_app.data.ingest.journal import Journal
from client_app.data.keys import Pseudonyms
from client_app.data.opt_outs import Unmet
from client_app.data.store.writer import StoreWriter
from federation.errors import DataError
from federation.site_store import open_store


@dataclass(frozen=True)
class Asked:
    """What came of asking again.

    Attributes:
        patients: how many were asked about: all of whom anything was ever asked for.
        gone: how many of them were taken out, by rule.
        unmet: the entries of the list of opt-outs that are nobody's who was looked at.
    """

    patients: int
    gone: Counter[str]
    unmet: Unmet


def heed(
    decisions: Mapping[str, Decision],
    asked: datetime,
    *,
    journal: Journal,
    store: StoreWriter,
    pseudonyms: Pseudonyms,
) -> Counter[str]:
    """Take out whoever may not be used any more, and note when that was asked; how many patients, by rule.

    Args:
        decisions: of the journal's patients, and of whom else was asked for, by the hospital's number.
        asked: when the first of them was asked for.
        journal: of the ingest.
        store: which they leave.
        pseudonyms: of the site.

    Raises:
        DataError: nobody of the store is known, as by a record or a journal that was lost; nobody is taken
            out.
    """
    series = open_store(store.folder).series
    if series and all(each.rule == "not-found" for each in decisions.values()):
        raise DataError(
            f"of {len(decisions)} patients whom the journal has, the record knows none, so nobody is taken "
            "out; see whether both are whole, and whether ingest.fhir names the right one. A journal that is "
            "lost is written anew by wardround-site ingest pacs, or images"
        )
    gone = to_tombstone({each.patient for each in series}, decisions, pseudonyms.patient)
    for patient, rule in gone.items():
        if rule in FOR_GOOD:
            store.withdraw(patient, rule)
    for each in series:
        rule = gone.get(each.patient, "")
        if rule and rule not in FOR_GOOD:
            store.retract(each.series, rule)
    left = {each.series for each in series if each.patient not in gone}
    for study, own in journal.series():
        if not left.issuperset(own):  # also where the store is an older copy than the journal
            journal.undo(study)
    store.consent_asked(asked)
    if gone:
        store.seal()
    return Counter(gone.values())
