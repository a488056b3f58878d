"""What is wanted gets into the store, and what is no longer wanted leaves it: each once, whatever dies.

The journal is told which series may be in the store before the first of them is, and that something is done
after the last. So what was begun is done anew, and nothing is in the store that the journal does not know.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping

from client_app.data.ingest.journal import Entry, Journal, Outcome
from client_app.data.keys import Pseudonyms
from client_app.data.refusal import MOST_FAULTS, Refused, enough_memory
from client_app.data.store.writer import StoreWriter
from client_app.data.volume import Volume
from federation.site_store import Fact

TAKEN_AGAIN = "taken-again"
NO_LONGER_WANTED = "no-longer-wanted"

Made = Callable[[], Volume]
"""Puts a series together; it may be refused."""


class Shelf:
    """A store and its journal.

    Args:
        journal: of the ingest.
        store: where series go.
        pseudonyms: of the site.
    """

    def __init__(self, journal: Journal, store: StoreWriter, pseudonyms: Pseudonyms) -> None:
        self._journal, self._store, self._pseudonyms = journal, store, pseudonyms

    def keep_only(self, origin: str, wanted: Collection[str]) -> None:
        """Take out whatever came from ``origin`` and is not among the keys that are ``wanted``."""
        for key, series in self._journal.series(origin):
            if key not in wanted:
                for each in series:
                    self._store.retract(each, NO_LONGER_WANTED)
                self._journal.forget(key)

    def clear(self, entry: Entry) -> None:
        """Take out what an entry has there, since it is to be taken anew."""
        if before := self._journal.series_of(entry.key):
            self._journal.begin(entry, before)
            for each in sorted(before):
                self._store.retract(each, TAKEN_AGAIN)

    def put(
        self,
        entry: Entry,
        series: Mapping[str, Made],
        *,
        features: Mapping[str, Fact],
        why: tuple[str, ...],
        refused: Mapping[str, int],
        failed: Mapping[str, int],
    ) -> Outcome:
        """Have just these series of an entry in the store, as far as they may be there.

        What it had there before and what is the same stays; the rest is taken out, and may come back.

        Args:
            entry: what is wanted.
            series: by pseudonym.
            features: what is known of it.
            why: the rules by which it is in.
            refused: what was not taken so far, by rule.
            failed: what could not be looked at this time so far, by rule.

        Raises:
            StorageError: the disk did not take it; the next try goes on.
        """
        before = self._journal.series_of(entry.key)
        self._journal.begin(entry, before | series.keys())
        for gone in sorted(before - series.keys()):
            self._store.retract(gone, TAKEN_AGAIN)
        stored: list[str] = []
        counts, faults = Counter(refused), Counter(failed)
        for name, made in sorted(series.items()):
            try:
                if faults.total() >= MOST_FAULTS:
                    raise Refused(faults.most_common(1)[0][0], "as the series before it", passing=True)
                with enough_memory():
                    self._add(entry, name, made(), features, why, again=name in before)
                stored.append(name)
            except Refused as reason:
                (faults if reason.passing else counts)[reason.rule] += 1
                if name in before:
                    self._store.retract(name, TAKEN_AGAIN)
        outcome = Outcome(tuple(stored), counts, faults)
        self._journal.done(entry, outcome)
        return outcome

    def _add(
        self,
        entry: Entry,
        name: str,
        volume: Volume,
        features: Mapping[str, Fact],
        why: tuple[str, ...],
        *,
        again: bool,
    ) -> None:
        patient = self._pseudonyms.patient(entry.patient)

        def add() -> None:
            self._store.add(volume, patient=patient, series=name, features=features, provenance={"why": why})

        try:
            add()
        except Refused as reason:
            # It differs from what is there; whoever withdrew, or is in the store as somebody else, stays out.
            if not again or reason.rule not in ("other-content", "two-patients"):
                raise
            self._store.retract(name, TAKEN_AGAIN)
            add()
