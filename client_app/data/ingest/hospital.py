"""A hospital's ingest, wired from its ``site.yaml``."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from client_app.books.findings import Finding
from client_app.data.fhir.client import FhirClient
from client_app.data.fhir.cohort import CohortFinder, Selection
from client_app.data.fhir.definition import cohort_definition
from client_app.data.fhir.gate import ConsentGate
from client_app.data.fhir.quality import quality
from client_app.data.ingest.consent import check_consent
from client_app.data.ingest.journal import Journal
from client_app.data.ingest.run import CohortIngest, Filled, Told
from client_app.data.ingest.settings import IngestSettings
from client_app.data.keys import Pseudonyms
from client_app.data.pacs.archive import archive
from client_app.data.pacs.source import Wanted
from client_app.data.store.writer import StoreWriter
from client_app.site import HospitalConfig
from federation.errors import ConfigError, DataError, RunError
from federation.files import locked


def settings_of(hospital: HospitalConfig) -> IngestSettings:
    """Those of a hospital.

    Raises:
        ConfigError: it has none.
    """
    if hospital.ingest is None:
        raise ConfigError("site.yaml has no ingest; conf/site/hospital.yaml shows one")
    return hospital.ingest


class HospitalIngest:
    """See the module; each method is a command.

    Args:
        settings: ``ingest`` of ``site.yaml``.
    """

    def __init__(self, settings: IngestSettings) -> None:
        self._settings = settings
        self._definition = cohort_definition(settings.cohort)

    def quality(self) -> tuple[Finding, ...]:
        """What the record and the archive have for the cohort."""
        with self._record() as (client, gate):
            return quality(self._definition, self._selection(client, gate, Pseudonyms(bytes(32))))

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
        pseudonyms = self._pseudonyms
        with self._record() as (client, gate):
            cases = self._selection(client, gate, pseudonyms).cases
        if not cases:
            raise DataError(
                "the record has nobody for the cohort, so nothing is pulled, and nothing taken out of the "
                "store; wardround-site ingest check says by which rules"
            )
        with (
            self._alone(),
            archive(settings.pacs) as source,
            Journal(settings.folder) as journal,
            StoreWriter(settings.store) as store,
        ):
            run = CohortIngest(
                source,
                journal=journal,
                store=store,
                pseudonyms=pseudonyms,
                options=settings.deidentify,
                folder=settings.folder / "incoming",
            )
            return run.take(cases, told, named=named, again=again)

    def consent(self) -> Counter[str]:
        """Take out whoever may not be used any more; how many patients, by rule."""
        with (
            self._alone(),
            self._record() as (_, gate),
            Journal(self._settings.folder) as journal,
            StoreWriter(self._settings.store) as store,
        ):
            return check_consent(gate, journal, store, self._pseudonyms)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            with locked(self._settings.folder / "lock", wait=False):
                yield
        except BlockingIOError:
            raise RunError(
                f"another ingest is at work in {self._settings.folder}; wait for its end"
            ) from None

    @property
    def _pseudonyms(self) -> Pseudonyms:
        return Pseudonyms.kept_at(self._settings.folder / "pseudonyms.key")

    @contextmanager
    def _record(self) -> Iterator[tuple[FhirClient, ConsentGate]]:
        settings = self._settings
        with FhirClient(settings.fhir) as client:
            today = datetime.now(UTC).astimezone().date()
            yield client, ConsentGate(client, settings.fhir.patient_system, settings.consent, today)

    def _selection(self, client: FhirClient, gate: ConsentGate, pseudonyms: Pseudonyms) -> Selection:
        system = self._settings.fhir.patient_system
        return CohortFinder(client, self._definition, gate, system).select(pseudonyms.patient)
