"""From codes and units to features: the same at hospitals that write them in different ways."""

import pytest
from fhir_asking import lung_nodule
from hypothesis import given
from hypothesis import strategies as st

from client_app.data.fhir.parts import read
from client_app.data.fhir.resources import Condition, DiagnosticReport, ImagingStudy, Observation
from client_app.data.fhir.values import FeatureReader
from simulation.hospital.records import ICD10, LOINC, SNOMED, UCUM

ACCESSION = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN"}]}
ME = {"subject": {"reference": "Patient/p"}}
DEFINITION = lung_nodule()


def study(key="s", started="2024-03-05", accession="A1"):
    raw = {"id": key, "status": "available", "started": started, **ME}
    return read(ImagingStudy, raw | {"identifier": [{"type": ACCESSION, "value": accession}]})


def concept(*codes):
    return {"coding": [{"system": system, "code": code} for system, code in codes]}


def measured(value=12.0, unit="mm", on="2024-03-05", system=UCUM, code=(LOINC, "33728-7"), **more):
    quantity = {"value": value, "system": system, "code": unit} | more.pop("quantity", {})
    raw = {
        "id": "o",
        "status": "final",
        "effectiveDateTime": on,
        "code": concept(code),
        "valueQuantity": quantity,
    }
    return read(Observation, ME | raw | more)


def reported(*codes, on="2024-03-05", **more):
    raw = {"id": "r", "status": "final", "effectiveDateTime": on, "conclusionCode": [concept(*codes)]}
    return read(DiagnosticReport, ME | raw | more)


def reading(name, *told, definition=DEFINITION, others=(), of=None):
    return FeatureReader(definition, name).of_study(of or study(), others, told)


@pytest.mark.parametrize(("value", "unit"), [(12.0, "mm"), (1.2, "cm"), (12, "mm"), (12.0 / 25.4, "[in_i]")])
def test_units_that_the_definition_converts_give_one_number(value, unit):
    assert reading("diameter_mm", measured(value, unit)).value == 12.0


@given(st.floats(1, 300), st.sampled_from([("mm", 1.0), ("cm", 10.0), ("[in_i]", 25.4)]))
def test_a_length_is_the_same_in_every_unit(millimetres, told):
    unit, factor = told
    found = reading("diameter_mm", measured(millimetres / factor, unit)).value
    assert found == pytest.approx(millimetres, rel=1e-8)


@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from([UCUM, "urn:x", None]),
)
def test_no_number_comes_of_a_unit_that_is_not_stated(value, unit, system):
    found = reading("diameter_mm", measured(value, unit, system=system))
    if system != UCUM or unit not in ("mm", "cm", "[in_i]"):
        assert (found.value, found.problem) == (None, "unit-mismatch")
    else:
        assert found.value is None or 1 <= found.value <= 300


@pytest.mark.mutant("a value in a wrong unit", how="a unit that is not known is taken for the feature's")
def test_a_unit_that_is_taken_for_granted_gives_a_wrong_number(monkeypatch):
    def trusting(self, told):
        return self._number(told.value * self.feature.convert.get(told.code, 1.0))

    monkeypatch.setattr(FeatureReader, "_quantity", trusting)
    assert reading("diameter_mm", measured(12.0, "[ft_i]")).value == 12.0


@pytest.mark.attack("a value in a wrong unit", held_by="only units that the definition states are converted")
@pytest.mark.parametrize("unit", ["[ft_i]", "MM", "mm2", "", None, "millimeter"])
def test_a_unit_that_is_not_stated_is_a_mismatch(unit):
    found = reading("diameter_mm", measured(12.0, unit))
    assert (found.value, found.problem) == (None, "unit-mismatch")


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        (measured(quantity={"comparator": "<"}), "comparator"),
        (measured(0.5), "out-of-range"),
        (measured(1e308, "cm"), "out-of-range"),
        (measured(None), "no-value"),
        (measured(valueQuantity=None), "no-value"),
        (measured(status="preliminary"), "missing"),
        (measured(status="entered-in-error"), "missing"),
        (measured(code=(SNOMED, "33728-7")), "missing"),
        (measured(on="2025-03-05"), "missing"),
        (measured(on="2024"), "missing"),
        (measured(on=None), "undated"),
    ],
)
def test_what_is_no_value_says_why(told, problem):
    assert reading("diameter_mm", told).problem == problem


@pytest.mark.parametrize("value", ["12", True, float("nan"), [12]])
def test_a_number_that_is_none_is_not_read(value):
    assert measured(value) is None


def test_a_component_answers_as_well():
    component = {
        "code": concept((LOINC, "33728-7")),
        "valueQuantity": {"value": 9, "system": UCUM, "code": "mm"},
    }
    told = measured(code=(LOINC, "21889-1"), component=[component])
    assert reading("diameter_mm", told).value == 9.0


BENIGN = {"snomed": (SNOMED, "30807003"), "icd10": (ICD10, "D14.3")}
MALIGNANT = {"snomed": (SNOMED, "363358000"), "icd10": (ICD10, "C34.9")}


@pytest.mark.parametrize("coding", ["snomed", "icd10"])
def test_a_class_is_the_same_in_both_codings(coding):
    assert reading("malignancy", reported(BENIGN[coding])).value == "benign"
    assert reading("malignancy", reported(MALIGNANT[coding], (SNOMED, "1"))).value == "malignant"


def test_two_classes_at_once_are_none():
    both = reported(BENIGN["snomed"], MALIGNANT["icd10"])
    assert reading("malignancy", both).problem == "contradictory"
    apart = reported(BENIGN["snomed"]), reported(MALIGNANT["icd10"])
    assert reading("malignancy", *apart).problem == "contradictory"


codes = st.tuples(
    st.sampled_from([SNOMED, ICD10, LOINC, "urn:x"]), st.sampled_from(["30807003", "D14.3", "C34.9", "x"])
)


@given(st.lists(codes, max_size=4))
def test_a_class_comes_of_its_own_codes_only(told):
    classes = {
        name
        for name, texts in DEFINITION.features["malignancy"].classes.items()
        if DEFINITION.codes(texts).intersection(told)
    }
    found = reading("malignancy", reported(*told))
    assert found.value == (classes.pop() if len(classes) == 1 else None)


def test_what_names_the_study_goes_before_what_is_near():
    near = measured(5.0)
    for names in (
        {"partOf": [{"reference": "ImagingStudy/s"}]},
        {"identifier": [{"type": ACCESSION, "value": "A1"}]},
    ):
        assert reading("diameter_mm", near, measured(9.0, on="2031", **names)).value == 9.0


def test_what_names_another_study_of_the_patient_is_not_of_this_one():
    other = study("t", accession="A2")
    for names in (
        {"derivedFrom": [{"reference": "ImagingStudy/t/_history/2"}]},
        {"basedOn": [{"identifier": {"type": ACCESSION, "value": "A2"}}]},
    ):
        assert reading("diameter_mm", measured(5.0, **names), others=[other]).problem == "missing"


def test_an_accession_of_another_kind_of_order_says_nothing():
    pathology = {"identifier": [{"type": ACCESSION, "value": "PATH-7"}]}
    assert reading("malignancy", reported(BENIGN["snomed"], **pathology)).value == "benign"


def test_the_nearest_counts_and_if_two_are_equally_near_they_have_to_agree():
    assert reading("diameter_mm", measured(5.0, on="2024-02-05"), measured(9.0, on="2024-03-01")).value == 9.0
    assert reading("diameter_mm", measured(5.0, on="2024-03-04"), measured(9.0, on="2024-03-06")).problem == (
        "contradictory"
    )
    assert reading("diameter_mm", measured(0.9, "cm"), measured(9.0)).value == 9.0


def smokes(**changes):
    feature = {"resource": "Condition", "classes": {"yes": ["snomed|77176002"]}, "absent": "no", "days": None}
    return lung_nodule(features__smokes=feature | changes)


def diagnosed(**more):
    return read(Condition, {"id": "c", "code": concept((SNOMED, "77176002")), **ME, **more})


def test_what_nobody_tells_may_be_a_class_of_its_own():
    assert reading("smokes", definition=smokes()).value == "no"
    assert reading("smokes", diagnosed(), definition=smokes()).value == "yes"
    assert reading("smokes", diagnosed(), definition=smokes(days=30)).problem == "undated"


@pytest.mark.parametrize("status", ["refuted", "entered-in-error", "provisional", "differential"])
def test_a_diagnosis_that_is_not_confirmed_is_none(status):
    told = diagnosed(verificationStatus=concept(("http://x", status)))
    assert reading("smokes", told, definition=smokes()).value == "no"


def test_a_whole_number_without_a_unit_is_a_count():
    count = {"resource": "Observation", "codes": ["loinc|1"], "unit": "1"}
    told = measured(code=(LOINC, "1"), valueQuantity=None, valueInteger=3)
    assert reading("count", told, definition=lung_nodule(features__count=count)).value == 3.0
    raw = {"id": "o", "subject": {"reference": "Patient/p"}, "status": "final", "valueInteger": 10**400}
    assert read(Observation, raw) is None, "no integer of FHIR, and more than a float holds"
