"""A cohort's studies, from the archive into the store: each once, whatever dies in between."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from client_app.data.deidentify.options import Options
from client_app.data.fhir.gate import chunks
from client_app.data.fhir.judge import Case
from client_app.data.ingest.journal import Entry, Journal
from client_app.data.ingest.shelf import Shelf
from client_app.data.ingest.study import ReadStudy, read_study
from client_app.data.keys import Pseudonyms
from client_app.data.pacs.source import Source, StudyRef, Wanted
from client_app.data.refusal import Refused
from client_app.data.store.writer import StoreWriter
from federation.errors import RunError

_IN_A_ROW = 3  # studies that the archive does not give whole, before nothing more is asked for


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
        missing: of those that were named, how many the archive has not.
    """

    version: str
    refused: Mapping[str, int] = field(default_factory=Counter)
    outside: int = 0
    missing: int = 0


class CohortIngest:
    """Takes a cohort in.

    Args:
        source: the archive, open.
        journal: of the ingest.
        store: where series go.
        pseudonyms: of the site.
        options: what de-identification lets through.
        folder: for files on their way, of the ingest alone.
    """

    def __init__(
        self,
        source: Source,
        *,
        journal: Journal,
        store: StoreWriter,
        pseudonyms: Pseudonyms,
        options: Options,
        folder: Path,
    ) -> None:
        self._source, self._journal, self._store = source, journal, store
        self._pseudonyms, self._options, self._folder = pseudonyms, options, folder
        self._shelf = Shelf(journal, store, pseudonyms)
        self._broken_off = 0

    def take(
        self,
        cases: Sequence[Case],
        told: Told = lambda _: None,
        *,
        named: Wanted | None = None,
        again: bool = False,
    ) -> Filled:
        """Pull whatever is not there yet, and put it into the store.

        What the archive does not give is asked for the next time. Series of studies that are no longer wanted
        leave the store, unless only some were named.

        Args:
            cases: the cohort.
            told: called after each study.
            named: takes of the cohort only what the archive has of this; None takes all of it.
            again: looks again at what was refused.

        Raises:
            RunError: the archive cannot be asked, or does not give several studies in a row; what is in the
                store stays, and the next try goes on.
            StorageError: the disk did not take it.
        """
        refs: dict[str, StudyRef] | None = None
        outside = missing = 0
        if named is None:
            self._shelf.keep_only("cohort", {self._pseudonyms.uid(case.study_uid) for case in cases})
        else:
            refs = self._found(named)
            cases = [case for case in cases if case.study_uid in refs]
            outside, missing = len(refs) - len(cases), len(named.missing(refs.values()))
        seen, taken = 0, 0
        for some in chunks(cases):
            todo = [case for case in some if not self._journal.is_done(self._entry(case), again=again)]
            seen += len(some) - len(todo)
            found = self._found_of(todo) if refs is None else refs
            for case in todo:
                if ref := found.get(case.study_uid):
                    taken += self._take(case, ref)
                seen += 1
                told(Taken(seen, len(cases), taken))
        return Filled(self._store.seal(), self._journal.refused("cohort"), outside, missing)

    def _found_of(self, cases: Sequence[Case]) -> dict[str, StudyRef]:
        return self._found(Wanted(studies=tuple(case.study_uid for case in cases))) if cases else {}

    def _found(self, wanted: Wanted) -> dict[str, StudyRef]:
        return {ref.uid: ref for ref in self._source.find(wanted)}

    def _take(self, case: Case, ref: StudyRef) -> int:
        """How many series of a study are in the store."""
        entry = self._entry(case)
        folder = self._folder / entry.key
        try:
            read = read_study(case, self._source.fetch(ref, folder), self._pseudonyms, self._options)
        except Refused as reason:
            read = ReadStudy({}, {reason.rule: 1})
        except RunError:
            self._broken_off += 1
            if self._broken_off == _IN_A_ROW:
                raise
            return 0
        self._broken_off = 0
        outcome = self._shelf.put(
            entry, read.series, features=case.features, why=case.why, refused=read.refused
        )
        shutil.rmtree(folder, ignore_errors=True)  # nothing that names somebody stays
        return len(outcome.series)

    def _entry(self, case: Case) -> Entry:
        """It is seen to again where the record, or the hospital, says something else of it."""
        said = {"patient": case.patient, "features": dict(case.features), "why": case.why}
        wanted = json.dumps([said, self._options.model_dump(mode="json")], sort_keys=True)
        key = self._pseudonyms.uid(case.study_uid)
        return Entry(key, "cohort", case.patient, sha256(wanted.encode()).hexdigest())
