"""A cohort's YAML: what is misspelt or contradicts itself is named."""

import pytest
from fhir_asking import LUNG_NODULE, lung_nodule

from client_app.data.fhir.codes import escaped, token
from client_app.data.fhir.definition import cohort_definition
from federation.errors import ConfigError

DIAMETER = {"resource": "Observation", "codes": ["loinc|33728-7"], "unit": "mm"}
LABEL = {"resource": "DiagnosticReport", "classes": {"no": ["snomed|1"], "yes": ["snomed|2"]}}


def test_the_example_is_read():
    definition = cohort_definition(LUNG_NODULE)
    assert definition == lung_nodule()
    assert list(definition.features) == ["malignancy", "diameter_mm", "area_mm2"]


def test_a_code_stands_for_every_address_of_its_system():
    assert lung_nodule().codes(["icd10gm|C34.9"]) == {
        ("http://fhir.de/CodeSystem/bfarm/icd-10-gm", "C34.9"),
        ("http://fhir.de/CodeSystem/dimdi/icd-10-gm", "C34.9"),
    }
    ours = lung_nodule(systems={"ours": ["urn:a", "urn:b"]}, features__diameter_mm__codes=["ours|7"])
    assert token(ours.codes(["ours|7"])) == "urn:a|7,urn:b|7"


def test_signs_that_mean_something_in_a_search_are_escaped():
    assert escaped("a,b|c$d\\e") == "a\\,b\\|c\\$d\\\\e"


def test_what_is_searched_for_is_what_the_definition_names():
    searches = lung_nodule().searches
    assert set(searches) == {"Condition", "DiagnosticReport", "Observation"}
    assert searches["DiagnosticReport"] == frozenset(), (
        "conclusions are no question that could be searched for"
    )
    assert searches["Observation"] == {
        ("http://loinc.org", "33728-7"),
        ("http://snomed.info/sct", "42798000"),
    }


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"label": "malignity"}, "label: malignity is no feature; did you mean 'malignancy'"),
        ({"label": "diameter_mm"}, "diameter_mm is a number; a label has classes"),
        ({"imaging__near__finding": "nodul"}, "nodul is not in who.having; did you mean 'nodule'"),
        ({"requires__features": {"diameter": 0.5}}, "requires.features: diameter is no feature"),
        ({"who__having__nodule__codes": ["snomedct|1"]}, "snomedct is no code system; did you mean 'snomed'"),
        ({"who__having__nodule__codes": ["427359005"]}, "codes.0"),
        ({"who__having__nodule__codes": ["snomed|1,2"]}, "codes.0"),
        ({"who__having__nodule__codes": []}, "codes"),
        ({"who__having__nodule__values": ["snomed|1"]}, "a Condition has codes only"),
        (
            {"who__having__images": {"resource": "Condition", "codes": ["snomed|1"]}},
            "images is the name of a rule",
        ),
        ({"imaging__modalities": ["*"]}, "modalities.0"),
        ({"imaging__modalities": []}, "modalities"),
        ({"features__area_mm2": DIAMETER | {"classes": {"small": ["snomed|1"]}}}, "either a unit"),
        ({"features__area_mm2": DIAMETER | {"unit": None}}, "either a unit"),
        ({"features__area_mm2": DIAMETER | {"convert": {"mm": 1}}}, "convert has mm"),
        ({"features__area_mm2": DIAMETER | {"convert": {"cm": 0}}}, "convert.cm"),
        ({"features__area_mm2": DIAMETER | {"codes": []}}, "an Observation needs codes"),
        ({"features__area_mm2": DIAMETER | {"absent": "none"}}, "numbers come from an Observation"),
        ({"features__area_mm2": DIAMETER | {"resource": "Condition"}}, "numbers come from an Observation"),
        ({"features__malignancy": LABEL | {"minimum": 1}}, "for numbers, which have a unit"),
        (
            {"features__malignancy": LABEL | {"classes": {"no": ["snomed|1"], "yes": ["snomed|1"]}}},
            "two classes",
        ),
        ({"features__malignancy": LABEL | {"feature": 1}}, "feature is not a setting"),
        ({"who__age__minimum": -1}, "minimum"),
        ({"name": "Lung nodule"}, "name"),
    ],
)
def test_what_cannot_be_is_named(changes, match):
    with pytest.raises(ConfigError, match=match):
        lung_nodule(**changes)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    file = tmp_path / "cohort.yaml"
    with pytest.raises(ConfigError) as error:
        cohort_definition(file)
    said = "cannot be read (No such file or directory); see to its path and rights"
    assert str(error.value) == f"{file} {said}"
    for content in ("a: [", "a: 1\na: 2\n", "${", "name: ${nothing}"):
        file.write_text(content)
        with pytest.raises(ConfigError, match=r"cohort.yaml"):
            cohort_definition(file)
    file.write_bytes(b"name: \xff\xfe")
    with pytest.raises(ConfigError, match=r"cohort.yaml"):
        cohort_definition(file)
