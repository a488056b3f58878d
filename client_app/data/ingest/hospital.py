"""A hospital's ingest, wired from its ``site.yaml``."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from client_app.books.findings import Finding
from client_app.data.fhir.client import FhirClient
from client_app.data.fhir.cohort import CohortFinder, Selection
from client_app.data.fhir.consent import Decision
from client_app.data.fhir.definition import CohortDefinition, cohort_definition
from client_app.data.fhir.gate import ConsentGate, Gate, ListGate
from client_app.data.fhir.quality import quality
from client_app.data.fhir.settings import FhirSettings
from client_app.data.ingest.consent import Asked, heed
from client_app.data.ingest.held import Held
from client_app.data.ingest.images import TableIngest, check_pngs
from client_app.data.ingest.incoming import Incoming
from client_app.data.ingest.journal import Journal
from client_app.data.ingest.lookup import stored
from client_app.data.ingest.run import COHORT, CohortIngest, Filled, Told
from client_app.data.ingest.settings import IngestSettings, not_given
from client_app.data.ingest.table import rows_of
from client_app.data.keys import Pseudonyms
from client_app.data.opt_outs import OptOuts, Unmet
from client_app.data.pacs.archive import archive
from client_app.data.pacs.images import ImageKind
from client_app.data.pacs.source import Wanted
from client_app.data.patience import Waits, in_silence
from client_app.data.store.writer import StoreWriter
from federation.errors import DataError, RunError, WardroundError
from federation.files import locked, make_folder
from federation.site_store import StoredSeries, open_store


class HospitalIngest:
    """See the module; each method is a command.

    Args:
        settings: ``ingest`` of ``site.yaml``.
        waits: called before each wait for a server that does not answer.
    """

    def __init__(self, settings: IngestSettings, waits: Waits = in_silence) -> None:
        self._settings, self._waits = settings, waits

    def check(self) -> tuple[Finding, ...]:
        """Whether archive and record answer, and what the record has for the cohort.

        Raises:
            ConfigError: record or cohort is not given, or the cohort cannot be read.
        """
        fhir, definition = self._fhir, self._definition
        found = self._archive()
        try:
            with self._record() as (client, gate):
                selection = self._selection(client, gate, Pseudonyms(bytes(32)))
        except WardroundError as error:
            return (*found, _problem("record", error))
        record = Finding("record", "ok", f"{fhir.url} answers")
        unmet = self._unmet(gate.opt_outs, "whom the record has for the cohort")
        return (*found, record, *quality(definition, selection), *unmet.findings())

    def pacs(self, told: Told, *, named: Wanted | None = None, again: bool = False) -> Filled:
        """Fill the store with the cohort's studies.

        Args:
            told: called after each study.
            named: takes of the cohort only what the archive has of this; None takes all of it.
            again: looks again at what was refused.

        Raises:
            DataError: nobody is in the cohort, as where a server has lost its records.
            RunError: another ingest is at work, or record or archive cannot be asked.
            StorageError: the disk did not take it.
        """
        settings = self._settings
        if settings.pacs is None:
            raise not_given("pacs")
        with self._opened() as (pseudonyms, journal, store):
            asked = datetime.now(UTC)
            with self._record() as (client, gate):
                decisions = gate.check(journal.patients())
                selection = self._selection(client, gate, pseudonyms)
            cases = selection.cases
            decisions |= {case.patient: Decision(True, "not-denied") for case in cases}
            before = self._series()
            gone = heed(decisions, asked, journal=journal, store=store, pseudonyms=pseudonyms)
            if not cases:
                raise DataError(
                    "the record has nobody for the cohort, so nothing is pulled, and what the store has of "
                    "it stays; wardround-site ingest check says by which rules"
                )
            with archive(settings.pacs, waits=self._waits) as source:
                run = CohortIngest(
                    source,
                    journal=journal,
                    store=store,
                    pseudonyms=pseudonyms,
                    options=settings.deidentify,
                    incoming=Incoming(settings.folder / "incoming"),
                )
                filled = run.take(cases, told, named=named, again=again)
            unmet = self._unmet(gate.opt_outs, "whom the record has for the cohort, whom the journal has")
            held = Held.of(journal.series(COHORT), before, self._series())
            return replace(filled, gone=gone, out=selection.tally.out, held=held, unmet=unmet)

    def images(
        self,
        folder: Path,
        table: Path,
        kind: ImageKind,
        told: Told,
        *,
        again: bool = False,
        shrink: bool = False,
        refused: Callable[[int, str], None] = lambda *_: None,
    ) -> Filled:
        """Fill the store with a table's images; see ``TableIngest``.

        Args:
            folder: where the images are.
            table: a CSV of them.
            kind: what all of them are.
            told: called after each image.
            again: looks again at what was refused.
            shrink: lets more than half of what is there leave, since the table does not name it.
            refused: called with the number of a row and the rule that keeps it out.

        Raises:
            ConfigError: there are PNGs, and ``kind`` does not say enough of them.
            DataError: the table is not as it should be, nobody of it may be used, or it is much shorter.
            RunError: another ingest is at work, the folder is not there, or the record cannot be asked.
            StorageError: the disk did not take it.
        """
        rows = rows_of(table)
        check_pngs(folder, rows, kind)
        with self._opened() as (pseudonyms, journal, store):
            asked = datetime.now(UTC)
            with self._gate() as gate:
                decisions = gate.check({*journal.patients(), *(row.patient for row in rows)})
            before = self._series()
            gone = heed(decisions, asked, journal=journal, store=store, pseudonyms=pseudonyms)
            run = TableIngest(folder, kind, journal=journal, store=store, pseudonyms=pseudonyms)
            filled = run.take(rows, decisions, told, again=again, shrink=shrink, refused=refused)
            unmet = self._unmet(gate.opt_outs, "whom the table or the journal has")
            held = Held.of(journal.series(run.origin), before, self._series())
            return replace(filled, gone=gone, held=held, unmet=unmet)

    def consent(self) -> Asked:
        """Take out whoever may not be used any more.

        Raises:
            DataError: the record knows nobody of the store, and nobody was taken out.
            RunError: another ingest is at work, or the record cannot be asked.
            StorageError: the disk did not take it.
        """
        with self._opened() as (pseudonyms, journal, store), self._gate() as gate:
            # Of a study that was broken off nobody knows here whose it is.
            Incoming(self._settings.folder / "incoming").keep_only(())
            asked = datetime.now(UTC)
            decisions = gate.check(journal.patients())
            gone = heed(decisions, asked, journal=journal, store=store, pseudonyms=pseudonyms)
            return Asked(len(decisions), gone, self._unmet(gate.opt_outs, "whom the journal has"))

    def _unmet(self, opt_outs: OptOuts, among: str) -> Unmet:
        """The entries of the list that are nobody's ``among`` whom was looked, nor of the store."""
        if not opt_outs:
            return Unmet()
        return opt_outs.unmet(f"{among}, or who is or was in the store", stored(self._settings))

    def _series(self) -> tuple[StoredSeries, ...]:
        """Those that are in the store at this moment."""
        return open_store(self._settings.store).series

    @contextmanager
    def _opened(self) -> Iterator[tuple[Pseudonyms, Journal, StoreWriter]]:
        """What an ingest works with, and for it alone."""
        folder = self._settings.folder
        try:
            make_folder(folder, 0o700)  # before the lock, which would make it as any other
            with (
                locked(folder / "lock", wait=False),
                Journal(folder) as journal,
                StoreWriter(self._settings.store) as store,
            ):
                key = self._settings.key
                if store.owner is not None and not key.exists():
                    raise DataError(
                        f"{key} is missing, with which {store.folder} was filled; restore it, or fill a new "
                        "store"
                    )
                pseudonyms = Pseudonyms.kept_at(key)
                store.belong_to(pseudonyms.owner)
                yield pseudonyms, journal, store
        except BlockingIOError:
            raise RunError(f"another ingest is at work in {folder}; wait for its end") from None

    def _archive(self) -> tuple[Finding, ...]:
        """Whether the archive answers, and lets us in; nothing where there is none."""
        if self._settings.pacs is None:
            return ()
        try:
            with archive(self._settings.pacs) as source:
                return (Finding("archive", "ok", f"answers {source.greet()}"),)
        except WardroundError as error:
            return (_problem("archive", error),)

    @property
    def _definition(self) -> CohortDefinition:
        if self._settings.cohort is None:
            raise not_given("cohort")
        return cohort_definition(self._settings.cohort)

    @property
    def _fhir(self) -> FhirSettings:
        if self._settings.fhir is None:
            raise not_given("fhir")
        return self._settings.fhir

    @contextmanager
    def _gate(self) -> Iterator[Gate]:
        """What decides on consent: the record, or where there is none the list of opt-outs alone."""
        if self._settings.fhir is None:
            yield ListGate(self._settings.consent)
            return
        with self._record() as (_, gate):
            yield gate

    @contextmanager
    def _record(self) -> Iterator[tuple[FhirClient, ConsentGate]]:
        with FhirClient(self._fhir, self._waits) as client:
            today = datetime.now(UTC).astimezone().date()
            yield client, ConsentGate(client, self._fhir.patient_system, self._settings.consent, today)

    def _selection(self, client: FhirClient, gate: ConsentGate, pseudonyms: Pseudonyms) -> Selection:
        finder = CohortFinder(client, self._definition, gate, self._fhir.patient_system)
        return finder.select(pseudonyms.patient)


def _problem(check: str, error: WardroundError) -> Finding:
    """A message says what is wrong, and after a semicolon what to do about it."""
    found, _, remedy = str(error).partition("; ")
    return Finding(check, "problem", found, remedy)
