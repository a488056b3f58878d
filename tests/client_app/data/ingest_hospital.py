"""A hospital with a PACS and a record, both real, and 200 studies of 160 patients."""

from dataclasses import dataclass

import pytest
from orthanc import Pacs, start_pacs

from client_app.data.ingest.hospital import HospitalIngest
from client_app.data.ingest.settings import IngestSettings
from client_app.data.keys import Pseudonyms
from federation.site_store import open_store
from simulation.hospital.ct_series import CtStudy, studies
from simulation.hospital.fhir import FhirServer, missing, start_fhir
from simulation.hospital.records import MRN, nodule_patient_bundle
from simulation.programs import ROOT, Programs

GIVEN = ("permit", "permit", "deny", "permit", "none", "permit", "expired", "permit", "nested-deny", "permit")


@dataclass(frozen=True)
class Hospital:
    """See the module.

    Attributes:
        pacs: with all studies.
        fhir: with all patients.
    """

    pacs: Pacs
    fhir: FhirServer

    @property
    def allowed(self) -> list[CtStudy]:
        """The studies of patients who have agreed."""
        return [study for study in self.pacs.studies if given(study) == "permit"]

    @property
    def denied(self) -> list[CtStudy]:
        """The studies of patients who have said no."""
        return [study for study in self.pacs.studies if given(study) == "deny"]

    def settings(self, folder, way="dicomweb", **changes):
        """Of an ingest below ``folder``."""
        values = {
            "folder": folder / "ingest",
            "store": folder / "store",
            "pacs": self.pacs.settings(way),
            "fhir": {"url": self.fhir.url, "patient_system": MRN},
            "cohort": ROOT / "conf/cohort/lung_nodule.yaml",
        }
        return IngestSettings.model_validate(values | changes)


def given(study):
    """What the study's patient has said."""
    return GIVEN[study.patient.number % len(GIVEN)]


def malignant(study):
    return study.number % 3 == 0


def bundle_of(study):
    day, born = (f"{text[:4]}-{text[4:6]}-{text[6:]}" for text in (study.date, study.patient.born))
    return nodule_patient_bundle(
        study.patient.id,
        study_uid=study.uid,
        accession=study.accession,
        malignant=malignant(study),
        diameter_mm=5 + study.number / 10,
        scanned=day,
        born=born,
        consent=given(study),
    )


def records(made):
    """A transaction for each patient, with all of their studies."""
    found = {}
    for study in made:
        entries = {entry["fullUrl"]: entry for entry in bundle_of(study)["entry"]}
        found[study.patient.id] = found.get(study.patient.id, {}) | entries
    for entries in found.values():
        yield {"resourceType": "Bundle", "type": "transaction", "entry": list(entries.values())}


@pytest.fixture(scope="session")
def hospital(tmp_path_factory):
    if reason := missing():
        pytest.skip(reason)
    with Programs(tmp_path_factory.mktemp("hospital")) as programs:
        pacs, fhir = start_pacs(programs, studies(200, slices=4)), start_fhir(programs, "fhir")
        for bundle in records(pacs.studies):
            fhir.post(bundle)
        yield Hospital(pacs, fhir)


def pulled(settings):
    """The store after ``ingest pacs``, and what was refused."""
    filled = HospitalIngest(settings).pacs(lambda _: None)
    return open_store(settings.store), filled.refused


def pseudonyms(settings):
    return Pseudonyms.kept_at(settings.folder / "pseudonyms.key")
