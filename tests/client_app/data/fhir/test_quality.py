"""What a hospital is told of its data before anything is pulled."""

import pytest
from fhir_asking import found, lung_nodule
from fhir_server import running_fhir_server

from client_app.books.findings import sound
from client_app.data.fhir.quality import quality
from simulation.hospital.records import nodule_patient_bundle

SHOWN = "a name in place of a unit"


def patient(number, **changes):
    given = {
        "study_uid": f"1.2.3.{number}",
        "accession": f"A{number}",
        "malignant": number % 3 == 0,
        "diameter_mm": 9.0,
    }
    return nodule_patient_bundle(f"N-{number}", **{**given, **changes})


def measured_in(unit, bundle):
    """The diameter of a patient in some ``unit``."""
    for entry in bundle["entry"]:
        if "valueQuantity" in entry["resource"]:
            entry["resource"]["valueQuantity"] |= {"code": unit, "unit": unit}
    return bundle


@pytest.fixture(scope="module")
def server():
    with running_fhir_server() as server:
        for number in range(6):
            server.post(patient(number))
        server.post(measured_in("[ft_i]", patient(10)))
        server.post(measured_in("m", patient(11)))
        server.post(measured_in("Müller", patient(12)))
        server.post(patient(13, diameter_mm=None, coding="icd10"))
        server.post(patient(14, study_uid="1.2.3.0"))
        server.post(patient(15, consent="deny"))
        server.post(patient(16, modality="MR"))
        images_only = patient(17)
        images_only["entry"] = images_only["entry"][:2]
        server.post(images_only)
        yield server


def rows(server, **changes):
    definition = lung_nodule(**changes)
    findings = quality(definition, found(server.url, definition))
    return {finding.check: finding for finding in findings}


def test_counts_say_what_there_is(server):
    told = rows(server)
    assert told["patients"].found == "9 in with 9 studies, 5 out"
    assert (told["class benign"].found, told["class malignant"].found) == ("7 patients", "2 patients")
    assert told["diameter_mm: known"].found == "5 studies"
    assert told["diameter_mm: missing"].found == "1 study"
    assert told["images without a record"].found == "1 patient with none of the findings"
    assert told["records without images"].found == "1 patient with no images"


def test_rules_say_who_is_out(server):
    told = rows(server)
    assert told["patients out: denied"].found == "1 patient"
    assert told["patients out: shared-study"].remedy == "find out whose study it is"
    assert told["duplicates: one uid of two patients"].state == "warning"
    assert told["duplicates: one accession of two patients"].state == "ok"


def test_codes_say_by_which_a_thing_is_told_and_which_are_never_seen(server):
    told = rows(server)
    assert told["codes of nodule"].found == "10 by snomed|427359005, 1 by icd10|R91"
    assert told["codes of area_mm2"].found == "none of them is found"
    assert told["codes of area_mm2"].state == "warning"


@pytest.mark.attack(SHOWN, held_by="units that are not among the usual ones are not shown")
def test_units_that_do_not_fit_are_told_and_nothing_else_is(server):
    mismatch = rows(server)["diameter_mm: unit-mismatch"]
    assert mismatch.found == "3 studies, in m, others"
    assert "convert" in mismatch.remedy


@pytest.mark.mutant(SHOWN, how="every unit is shown")
def test_a_unit_may_be_anything(server, monkeypatch):
    monkeypatch.setattr("client_app.data.fhir.quality._UNITS", frozenset(["m", "[ft_i]", "Müller"]))
    assert "Müller" in rows(server)["diameter_mm: unit-mismatch"].found


def test_a_hospital_below_what_is_required_is_told_why(server):
    told = rows(server)
    problems = {check: finding.found for check, finding in told.items() if finding.state == "problem"}
    assert problems == {
        "required: patients": "9 patients, and 50 are required",
        "required: class benign": "7 patients, and 10 are required",
        "required: class malignant": "2 patients, and 10 are required",
        "required: diameter_mm": "known in 5 of 9 studies, and 80% are required",
    }
    assert all(told[check].remedy for check in problems)


def test_a_hospital_that_has_what_is_required_can_take_part(server):
    requires = {"patients": 9, "patients_of_each_class": 2, "features": {"diameter_mm": 0.5}}
    assert sound(rows(server, requires=requires).values())


def test_an_empty_hospital_is_told_so():
    with running_fhir_server() as server:
        told = rows(server)
    assert told["patients"].found == "0 in with 0 studies, 0 out"
    assert told["required: diameter_mm"].state == "problem"
