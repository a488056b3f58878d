"""Synthetic patients with a lung nodule, as a hospital's record tells of them; every name is made up."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Literal

Resource = dict[str, Any]

MRN = "urn:oid:1.2.3.4.5.6.7.8.9"  # the system of this hospital's patient numbers
SNOMED = "http://snomed.info/sct"
LOINC = "http://loinc.org"
ICD10 = "http://hl7.org/fhir/sid/icd-10"
UCUM = "http://unitsofmeasure.org"
TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"

_DIAMETER, _AREA = (LOINC, "33728-7"), (SNOMED, "42798000")
# One way to say it for each way of coding: nodule, malignant, benign.
CODES = {
    "snomed": ((SNOMED, "427359005"), (SNOMED, "363358000"), (SNOMED, "30807003")),
    "icd10": ((ICD10, "R91"), (ICD10, "C34.9"), (ICD10, "D14.3")),
}
NAMES = (
    ("Ahlgren", "Zoë"),
    ("Иванова", "Анна Сергеевна"),
    ("王", "小明"),
    ("محمود", "ليلى"),
    ("Παπαδόπουλος", "Γιώργος"),
    ("김", "민준"),
    ("O’Brien-Łęcki", "D’Artagnan"),
    ("さくら", "花子"),
    ("שפירא", "נועה"),
    ("ณเดชน์", "คูกิมิยะ"),
)

Given = Literal["permit", "deny", "nested-deny", "expired", "rejected", "draft", "none"]


def nodule_patient_bundle(
    mrn: str,
    *,
    study_uid: str,
    accession: str,
    malignant: bool | None,
    diameter_mm: float | None,
    area_mm2: float | None = None,
    scanned: str = "2024-03-05",
    born: str | None = "1957-08-14",
    sex: str = "female",
    name: tuple[str, str] = NAMES[0],
    coding: Literal["snomed", "icd10"] = "snomed",
    unit: Literal["mm", "cm", "[in_i]"] = "mm",
    modality: str = "CT",
    consent: Given = "permit",
) -> Resource:
    """A transaction ``Bundle``: a patient, what was found, what it was, the CT it was seen on, and a consent.

    Args:
        mrn: the hospital's number of the patient.
        study_uid: of the CT study, as in DICOM.
        accession: of the CT study.
        malignant: what the report concludes; None leaves the conclusion out.
        diameter_mm: longest diameter; None leaves the observation out.
        area_mm2: largest cross-section; None leaves the observation out.
        scanned: FHIR date of the study, the finding and the measurements.
        born: FHIR date, partial where only that is known; None where nothing is.
        sex: FHIR administrative gender.
        name: family and given name.
        coding: whether the hospital codes findings by SNOMED CT or by ICD-10.
        unit: UCUM unit that the diameter is told in.
        modality: DICOM modality of the study.
        consent: what the patient said of research.
    """
    nodule, bad, good = CODES[coding]
    concluded = None if malignant is None else bad if malignant else good
    me, study = _urn(mrn, "patient"), _urn(mrn, study_uid)
    of_study: list[tuple[str, Resource]] = [
        (study, _imaging(study_uid, accession, modality, scanned)),
        (_urn(mrn, "nodule"), _finding(nodule, scanned)),
        (_urn(mrn, f"report {study_uid}"), _report(concluded, study, scanned)),
    ]
    for code, value, told in ((_DIAMETER, diameter_mm, unit), (_AREA, area_mm2, "mm2")):
        if value is not None:
            measured = _measurement(code, value, told, study, scanned)
            of_study.append((_urn(mrn, f"{code[1]} {study_uid}"), measured))
    resources = [(me, _patient(mrn, name, sex, born))]
    resources += [(urn, resource | {"subject": {"reference": me}}) for urn, resource in of_study]
    if consent != "none":
        resources.append((_urn(mrn, "consent"), research_consent(me, consent)))
    return transaction(resources)


def research_consent(patient: str, given: Given, on: str = "2023-01-10") -> Resource:
    """What ``patient`` (a reference) said of research."""
    research = [{"system": f"{TERMINOLOGY}/v3-ActReason", "code": "HRESCH"}]
    ends = (date.today() + timedelta(days=365)).isoformat()
    provision: Resource = {"type": "permit", "period": {"start": on, "end": ends}, "purpose": research}
    if given == "deny":
        provision = {"type": "deny", "purpose": research}
    if given == "expired":
        provision["period"] = {"start": on, "end": "2024-01-10"}
    if given == "nested-deny":
        provision["provision"] = [{"type": "permit", "provision": [{"type": "deny", "purpose": research}]}]
    return {
        "resourceType": "Consent",
        "status": {"rejected": "rejected", "draft": "draft"}.get(given, "active"),
        "scope": _concept((f"{TERMINOLOGY}/consentscope", "research")),
        "category": [_concept((LOINC, "57016-8"))],
        "patient": {"reference": patient},
        "dateTime": on,
        "policyRule": _concept((f"{TERMINOLOGY}/v3-ActCode", "OPTIN")),
        "provision": provision,
    }


def transaction(resources: Sequence[tuple[str, Mapping[str, Any]]]) -> Resource:
    """A ``Bundle`` that creates the resources, each given with the URN by which the others refer to it."""
    entries = [
        {
            "fullUrl": urn,
            "resource": {key: value for key, value in resource.items() if value is not None},
            "request": {"method": "POST", "url": resource["resourceType"]},
        }
        for urn, resource in resources
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def _urn(mrn: str, what: str) -> str:
    return f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, f'{mrn}/{what}')}"


def _concept(code: tuple[str, str]) -> Resource:
    return {"coding": [{"system": code[0], "code": code[1]}]}


def _patient(mrn: str, name: tuple[str, str], sex: str, born: str | None) -> Resource:
    family, given = name
    return {
        "resourceType": "Patient",
        "active": True,
        "identifier": [{"system": MRN, "value": mrn}],
        "name": [{"family": family, "given": [given]}],
        "gender": sex,
        "birthDate": born,
    }


def _imaging(uid: str, accession: str, modality: str, scanned: str) -> Resource:
    taken_with = {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": modality}
    thorax = {"system": SNOMED, "code": "51185008", "display": "Thoracic structure"}
    return {
        "resourceType": "ImagingStudy",
        "status": "available",
        "identifier": [
            {"system": "urn:dicom:uid", "value": f"urn:oid:{uid}"},
            {"type": _concept((f"{TERMINOLOGY}/v2-0203", "ACSN")), "value": accession},
        ],
        "started": scanned,
        "modality": [taken_with],
        "series": [{"uid": f"{uid}.1", "modality": taken_with, "bodySite": thorax}],
    }


def _finding(code: tuple[str, str], scanned: str) -> Resource:
    return {
        "resourceType": "Condition",
        "verificationStatus": _concept((f"{TERMINOLOGY}/condition-ver-status", "confirmed")),
        "code": _concept(code),
        "recordedDate": scanned,
    }


def _report(concluded: tuple[str, str] | None, study: str, scanned: str) -> Resource:
    return {
        "resourceType": "DiagnosticReport",
        "status": "final",
        "code": _concept((LOINC, "24627-2")),  # CT of the chest
        "effectiveDateTime": scanned,
        "imagingStudy": [{"reference": study}],
        "conclusionCode": None if concluded is None else [_concept(concluded)],
    }


def _measurement(code: tuple[str, str], value: float, unit: str, study: str, scanned: str) -> Resource:
    """``value``, in mm or mm², told in ``unit``."""
    told = value / {"mm": 1.0, "cm": 10.0, "[in_i]": 25.4, "mm2": 1.0}[unit]
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": _concept(code),
        "effectiveDateTime": scanned,
        "partOf": [{"reference": study}],
        "valueQuantity": {"value": told, "unit": unit, "system": UCUM, "code": unit},
    }
