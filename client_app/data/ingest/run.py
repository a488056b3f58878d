"""A cohort's studies, from the archive into the store: each once, whatever dies in between."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from client_app.data.deidentify.options import Options
from client_app.data.fhir.gate import chunks
from client_app.data.fhir.judge import Case
from client_app.data.ingest.held import Held
from client_app.data.ingest.incoming import Incoming
from client_app.data.ingest.journal import Entry, Journal
from client_app.data.ingest.shelf import Shelf
from client_app.data.ingest.study import ReadStudy, read_study
from client_app.data.keys import Pseudonyms
from client_app.data.opt_outs import Unmet
from client_app.data.pacs.source import Source, StudyRef, Wanted
from client_app.data.refusal import Refused
from client_app.data.store.writer import StoreWriter
from federation.errors import RunError

COHORT = "cohort"
"""What names a study, in the journal."""


@dataclass(frozen=True)
class Taken:
    """How far it is.

    Attributes:
        seen: studies, or images of a table, that were seen to.
        of: how many there are.
        series: that are in the store from them.
    """

    seen: int
    of: int
    series: int


Told = Callable[[Taken], None]


@dataclass(frozen=True)
class Filled:
    """What an ingest came to.

    Attributes:
        version: of the store.
        refused: how many files and series are not in it, by rule.
        outside: studies that the archive has of those that were named, and the cohort has not.
        missing: of those that were wanted, how many the archive has not.
        broken: how many were not taken this time, by what went wrong: the archive did not give them whole, or
            this machine did not read them; the next ingest tries again.
        gone: how many patients were taken out since they may not be used any more, by rule.
        out: how many patients the record keeps out of the cohort, by rule.
        held: what is in the store now, beside before.
        unmet: the entries of the list of opt-outs that are nobody's who was looked at.
    """

    version: str
    refused: Mapping[str, int] = field(default_factory=Counter)
    outside: int = 0
    missing: int = 0
    broken: Mapping[str, int] = field(default_factory=Counter)
    gone: Mapping[str, int] = field(default_factory=Counter)
    out: Mapping[str, int] = field(default_factory=Counter)
    held: Held = field(default_factory=Held)
    unmet: Unmet = field(default_factory=Unmet)


class CohortIngest:
    """Takes a cohort in.

    Args:
        source: the archive, open.
        journal: of the ingest.
        store: where series go.
        pseudonyms: of the site.
        options: what de-identification lets through.
        incoming: for files on their way.
    """

    def __init__(
        self,
        source: Source,
        *,
        journal: Journal,
        store: StoreWriter,
        pseudonyms: Pseudonyms,
        options: Options,
        incoming: Incoming,
    ) -> None:
        self._source, self._journal, self._store = source, journal, store
        self._pseudonyms, self._options, self._incoming = pseudonyms, options, incoming
        self._shelf = Shelf(journal, store, pseudonyms)

    def take(
        self,
        cases: Sequence[Case],
        told: Told = lambda _: None,
        *,
        named: Wanted | None = None,
        again: bool = False,
    ) -> Filled:
        """Pull whatever is not there yet, and put it into the store.

        A study that the archive has more of than before is taken anew; what it does not give is asked for the
        next time. Series of studies that are no longer wanted
        leave the store, unless only some were named.

        Args:
            cases: the cohort.
            told: called after each study.
            named: takes of the cohort only what the archive has of this; None takes all of it.
            again: looks again at what was refused.

        Raises:
            RunError: the archive cannot be asked; what is in the store stays, and the next try goes on.
            StorageError: the disk did not take it.
        """
        wanted = {self._pseudonyms.uid(case.study_uid) for case in cases}
        self._incoming.keep_only(wanted)
        refs: dict[str, StudyRef] | None = None
        outside = missing = 0
        if named is None:
            self._shelf.keep_only(COHORT, wanted)
        else:
            refs = self._found(named)
            cases = [case for case in cases if case.study_uid in refs]
            outside, missing = len(refs) - len(cases), len(named.missing(refs.values()))
        seen, taken = 0, 0
        broken: Counter[str] = Counter()
        for some in chunks(cases):
            found = self._found_of(some) if refs is None else refs
            for case in some:
                if ref := found.get(case.study_uid):
                    taken += self._take(case, ref, broken, again=again)
                else:
                    missing += 1
                seen += 1
                told(Taken(seen, len(cases), taken))
        return Filled(self._store.seal(), self._journal.refused(COHORT), outside, missing, broken)

    def _found_of(self, cases: Sequence[Case]) -> dict[str, StudyRef]:
        return self._found(Wanted(studies=tuple(case.study_uid for case in cases))) if cases else {}

    def _found(self, wanted: Wanted) -> dict[str, StudyRef]:
        return {ref.uid: ref for ref in self._source.find(wanted)}

    def _take(self, case: Case, ref: StudyRef, broken: Counter[str], *, again: bool) -> int:
        """How many series of a study are new in the store, or were taken anew."""
        entry = self._entry(case, ref)
        if self._journal.is_done(entry, again=again):
            self._incoming.remove(entry.key)  # of one that died before it did
            return 0
        files = self._source.fetch(ref, self._incoming.of(entry.key))
        try:
            read = read_study(case, files, self._pseudonyms, self._options)
        except Refused as reason:
            counted = {reason.rule: 1}
            read = ReadStudy({}, {}, counted) if reason.passing else ReadStudy({}, counted, {})
        except RunError as error:
            broken[str(error)] += 1
            self._source.greet()  # which ends it where the archive is gone
            return 0
        outcome = self._shelf.put(
            entry,
            read.series,
            features=case.features,
            why=case.why,
            refused=read.refused,
            failed=read.failed,
        )
        broken.update(outcome.failed.keys())  # the study once for each
        self._incoming.remove(entry.key)
        return len(outcome.series)

    def _entry(self, case: Case, ref: StudyRef) -> Entry:
        """It is seen to again where record, hospital or archive says something else of it."""
        said = {"patient": case.patient, "features": dict(case.features), "why": case.why}
        options = self._options.model_dump(mode="json")
        wanted = json.dumps([said, options, ref.instances], sort_keys=True)
        key = self._pseudonyms.uid(case.study_uid)
        return Entry(key, COHORT, case.patient, sha256(wanted.encode()).hexdigest())
