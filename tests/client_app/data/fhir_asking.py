"""Clients of servers, and a cohort to look for."""

from contextlib import contextmanager
from datetime import date
from hashlib import sha256
from pathlib import Path

from omegaconf import OmegaConf

from client_app.data.fhir.client import FhirClient
from client_app.data.fhir.cohort import CohortFinder
from client_app.data.fhir.consent import ConsentRules
from client_app.data.fhir.definition import CohortDefinition
from client_app.data.fhir.gate import ConsentGate
from client_app.data.fhir.settings import FhirSettings
from federation.schema import validated
from simulation.hospital.records import MRN

LUNG_NODULE = Path(__file__).parents[3] / "conf/cohort/lung_nodule.yaml"


def pseudonym(number):
    return sha256(f"key/{number}".encode()).hexdigest()[:16]


def lung_nodule(**changes):
    """The cohort of ``conf/cohort/lung_nodule.yaml``; ``a__b=value`` sets what stands at ``a.b``."""
    definition = OmegaConf.load(LUNG_NODULE)
    for path, value in changes.items():
        OmegaConf.update(definition, path.replace("__", "."), value, merge=False)
    return validated(CohortDefinition, OmegaConf.to_container(definition), "cohort")


@contextmanager
def asking(url, **settings):
    """A client of the server at ``url`` that never waits."""
    chosen = FhirSettings(url=url, patient_system=MRN, **{"page": 50, **settings})
    with FhirClient(chosen, sleep=lambda _: None) as client:
        yield client


def found(url, definition, today=None, **rules):
    """The cohort that the server at ``url`` has."""
    with asking(url) as client:
        gate = ConsentGate(client, MRN, ConsentRules(**rules), today or date.today())
        return CohortFinder(client, definition, gate, MRN).select(pseudonym)
