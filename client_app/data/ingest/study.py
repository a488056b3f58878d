"""One study: its files read, de-identified, put together and stored."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from pydicom import Dataset

from client_app.data.deidentify.options import Options
from client_app.data.deidentify.profile import deidentify
from client_app.data.dicom.door import read_instance
from client_app.data.dicom.series import volume
from client_app.data.fhir.consent import comparable
from client_app.data.fhir.judge import Case
from client_app.data.ingest.journal import Outcome
from client_app.data.keys import Pseudonyms
from client_app.data.refusal import Refused
from client_app.data.store.writer import StoreWriter


class StudyIngest:
    """Takes studies in.

    Args:
        pseudonyms: of the site.
        store: where they go.
        options: what de-identification lets through.
    """

    def __init__(self, pseudonyms: Pseudonyms, store: StoreWriter, options: Options) -> None:
        self._pseudonyms, self._store, self._options = pseudonyms, store, options

    def take(self, case: Case, files: Iterable[Path]) -> Outcome:
        """Put the series of a study into the store, as far as they may be there.

        Where a file of a series is refused the whole series is, since it would lack slices; where it cannot
        be told of which series a file is, the study is.

        Raises:
            StorageError: the disk did not take it; what is in the store stays there.
        """
        refused: Counter[str] = Counter()
        series: dict[str, list[Dataset]] = {}
        incomplete: set[str] = set()
        for file in files:
            of = ""
            try:
                dataset = read_instance(file)
                of = self._pseudonyms.uid(dataset.SeriesInstanceUID)
                _belongs(case, dataset)
                series.setdefault(of, []).append(deidentify(dataset, self._pseudonyms, self._options))
            except Refused as reason:
                refused[reason.rule] += 1
                incomplete.add(of)
        stored: list[str] = []
        for of, instances in sorted(series.items()):
            try:
                if {of, ""} & incomplete:
                    raise Refused("incomplete-series", "a file of the series was refused")
                self._store_series(case, of, instances)
                stored.append(of)
            except Refused as reason:
                refused[reason.rule] += 1
        return Outcome(tuple(stored), refused)

    def _store_series(self, case: Case, of: str, instances: list[Dataset]) -> None:
        self._store.add(
            volume(instances),
            patient=self._pseudonyms.patient(case.patient),
            series=of,
            features=case.features,
            provenance={"why": case.why},
        )


def _belongs(case: Case, dataset: Dataset) -> None:
    """Refuse images of somebody else: numbers of studies are mistyped, and used twice."""
    if comparable(str(dataset.get("PatientID", ""))) != comparable(case.patient):
        raise Refused("other-patient", "the images are of another patient than the record says")
    if str(dataset.get("StudyInstanceUID", "")) != case.study_uid:
        raise Refused("other-study", "the images are of another study than the record says")
