"""A cohort's studies, from the archive into the store: each once, whatever dies in between."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from client_app.data.deidentify.options import Options
from client_app.data.fhir.gate import chunks
from client_app.data.fhir.judge import Case
from client_app.data.ingest.journal import Journal, Outcome
from client_app.data.ingest.study import StudyIngest
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
        seen: studies that were seen to.
        of: how many there are.
        series: that are in the store from them.
    """

    seen: int
    of: int
    series: int


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
        self._study = StudyIngest(pseudonyms, store, options)
        self._broken_off = 0

    def take(self, cases: Sequence[Case], told: Callable[[Taken], None] = lambda _: None) -> str:
        """Pull whatever is not there yet, and put it into the store; the store's version.

        What the archive does not give is asked for the next time. Series of studies that are no longer wanted
        leave the store.

        Raises:
            RunError: the archive cannot be asked, or does not give several studies in a row; what is in the
                store stays, and the next try goes on.
            StorageError: the disk did not take it.
        """
        wanted = {self._key(case) for case in cases}
        for study, series in self._journal.series():
            if study not in wanted:
                self._leave_out(study, series)
        seen, taken = 0, 0
        for some in chunks(cases):
            todo = [case for case in some if not self._journal.is_done(self._key(case), self._wanted(case))]
            seen += len(some) - len(todo)
            found = self._found(todo)
            for case in todo:
                if ref := found.get(case.study_uid):
                    taken += self._take(case, ref)
                seen += 1
                told(Taken(seen, len(cases), taken))
        return self._store.seal()

    def _leave_out(self, study: str, series: Sequence[str]) -> None:
        for each in series:
            self._store.retract(each, "no-longer-wanted")
        self._journal.forget(study)

    def _found(self, cases: Sequence[Case]) -> dict[str, StudyRef]:
        if not cases:
            return {}
        wanted = Wanted(studies=tuple(case.study_uid for case in cases))
        return {ref.uid: ref for ref in self._source.find(wanted)}

    def _take(self, case: Case, ref: StudyRef) -> int:
        """How many series of a study are in the store."""
        folder = self._folder / self._key(case)
        try:
            outcome = self._study.take(case, self._source.fetch(ref, folder))
        except Refused as reason:
            outcome = Outcome(refused={reason.rule: 1})
        except RunError:
            self._broken_off += 1
            if self._broken_off == _IN_A_ROW:
                raise
            return 0
        self._broken_off = 0
        self._journal.done(self._key(case), case.patient, self._wanted(case), outcome)
        shutil.rmtree(folder, ignore_errors=True)  # nothing that names somebody stays
        return len(outcome.series)

    def _key(self, case: Case) -> str:
        return self._pseudonyms.uid(case.study_uid)

    def _wanted(self, case: Case) -> str:
        """All that decides what becomes of a study, so that it is seen to again where that has changed."""
        said = {"patient": case.patient, "features": dict(case.features), "why": case.why}
        return sha256(
            json.dumps([said, self._options.model_dump(mode="json")], sort_keys=True).encode()
        ).hexdigest()
