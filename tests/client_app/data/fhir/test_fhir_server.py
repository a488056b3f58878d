"""The server that the other tests are held against is itself what R4 says."""

import httpx
import pytest
from fhir_server import running_fhir_server

from federation.errors import RunError
from simulation.hospital.records import nodule_patient_bundle


@pytest.fixture(scope="module")
def server():
    with running_fhir_server() as server:
        for number in range(5):
            bundle = nodule_patient_bundle(
                f"A-{number}",
                study_uid=f"1.2.826.{number}",
                accession=f"ACC{number}",
                malignant=bool(number % 2),
                diameter_mm=7.5,
                area_mm2=40.0,
            )
            server.post(bundle)
        yield server


def test_a_patient_of_the_tests_is_valid_r4_and_refers_to_its_own_study(server):
    [found] = httpx.get(f"{server.url}/DiagnosticReport?_count=1").json()["entry"]
    study = httpx.get(f"{server.url}/{found['resource']['imagingStudy'][0]['reference']}").json()
    assert study["resourceType"] == "ImagingStudy"
    assert study["subject"] == found["resource"]["subject"]


def test_it_pages(server):
    url, seen = f"{server.url}/Patient?_count=2", []
    while url:
        page = httpx.get(url).json()
        seen.append([entry["resource"]["identifier"][0]["value"] for entry in page["entry"]])
        url = next((link["url"] for link in page["link"] if link["relation"] == "next"), None)
    assert seen == [["A-0", "A-1"], ["A-2", "A-3"], ["A-4"]]


def test_it_searches_by_several_codes_and_by_several_patients(server):
    code = "http://snomed.info/sct|42798000,http://loinc.org|33728-7"
    found = httpx.post(f"{server.url}/Observation/_search", data={"code": code, "_count": "100"}).json()
    assert found["total"] == 10
    patients = ",".join(sorted({entry["resource"]["subject"]["reference"] for entry in found["entry"]})[:2])
    form = {"code": code, "patient": patients}
    assert httpx.post(f"{server.url}/Observation/_search", data=form).json()["total"] == 4


def test_it_refuses_what_is_no_r4(server):
    bundle = nodule_patient_bundle("B", study_uid="1.2", accession="2", malignant=None, diameter_mm=None)
    bundle["entry"][0]["resource"]["birthDate"] = "yesterday"
    with pytest.raises(RunError, match="Invalid date format"):
        server.post(bundle)
