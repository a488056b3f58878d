"""Whatever a server sends is read or is not; it is never an accident."""

from contextlib import contextmanager, suppress
from datetime import date

import pytest
from fhir_asking import found, lung_nodule
from fhir_scripted import scripted
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client_app.data.fhir.consent import ConsentRules, decide
from client_app.data.fhir.judge import Wanted
from client_app.data.fhir.parts import read
from client_app.data.fhir.people import Consent, Patient
from client_app.data.fhir.resources import KINDS, ImagingStudy, Observation
from client_app.data.fhir.values import FeatureReader
from federation.errors import WardroundError
from simulation.hospital.records import MRN, nodule_patient_bundle

SMALL = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
ANYTHING = st.recursive(
    SMALL, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
BUNDLE = nodule_patient_bundle(
    "M", study_uid="1.2", accession="A", malignant=True, diameter_mm=7, area_mm2=40
)
PLACES = {entry["fullUrl"]: f"{entry['resource']['resourceType']}/x" for entry in BUNDLE["entry"]}


def placed(value):
    """A resource of the bundle as a server has it, with references to what it keeps."""
    if isinstance(value, dict):
        return {key: placed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [placed(inner) for inner in value]
    return PLACES.get(value, value)


RESOURCES = [placed(entry["resource"]) | {"id": "x"} for entry in BUNDLE["entry"]]
DEFINITION = lung_nodule()
MODELS = {"Patient": Patient, "ImagingStudy": ImagingStudy, "Consent": Consent, **KINDS}


def paths(value, path=()):
    yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from paths(inner, (*path, key))


def with_at(value, path, new):
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = with_at(value[path[0]], path[1:], new)
    return copy


@st.composite
def spoilt(draw):
    """A resource in which something is another thing."""
    resource = draw(st.sampled_from(RESOURCES))
    path = draw(st.sampled_from([path for path in paths(resource) if path]))
    return with_at(resource, path, draw(ANYTHING)) | {"resourceType": resource["resourceType"]}


@given(spoilt())
@settings(max_examples=300)
def test_a_resource_in_which_something_is_wrong_is_read_or_is_not(resource):
    model = read(MODELS[resource["resourceType"]], resource)
    if isinstance(model, Consent):
        assert decide([model], ConsentRules(), date(2025, 1, 1)).rule
    elif model is not None and not isinstance(model, Patient):
        study = read(ImagingStudy, RESOURCES[1])
        for name in DEFINITION.features:
            assert FeatureReader(DEFINITION, name).of_study(study, [], [model])
        assert Wanted(DEFINITION, DEFINITION.who.having["nodule"]).met_by(model) in (True, False)


@contextmanager
def keeping(resources):
    """A server that answers every search with all that it keeps of that kind."""

    def answer(request):
        kind = request.path.split("/")[2]
        entries = [{"resource": each} for each in resources if each["resourceType"] == kind]
        return 200, {}, {"resourceType": "Bundle", "entry": entries}

    with scripted(answer) as server:
        yield server


def test_what_is_spoilt_below_is_a_case_as_it_is():
    with keeping(RESOURCES) as server:
        [case] = found(server.url, DEFINITION).cases
    assert case.features == {"malignancy": "malignant", "diameter_mm": 7.0, "area_mm2": 40.0}


@pytest.mark.deployment  # for its time
@given(spoilt())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_server_that_sends_anything_is_an_error_of_ours_or_none(resource):
    others = [each for each in RESOURCES if each["resourceType"] != resource["resourceType"]]
    with keeping([*others, resource]) as server, suppress(WardroundError):
        for case in found(server.url, DEFINITION).cases:
            assert (
                case.features.items()
                <= {"malignancy": "malignant", "diameter_mm": 7.0, "area_mm2": 40.0}.items()
            )


def test_no_repr_shows_a_patient():
    for resource in RESOURCES:
        model = read(MODELS[resource["resourceType"]], resource | {"id": "secret-id"})
        assert model is not None
        assert not {"secret-id", "1957", "Ahlgren", MRN} & set(repr(model).replace("'", " ").split())
        assert repr(model) == f"{resource['resourceType']}()"


@pytest.mark.parametrize(("value", "met"), [("260385009", False), ("52101004", True)])
def test_an_observation_may_have_to_say_something(value, met):
    definition = lung_nodule(
        who__having__nodule={"resource": "Observation", "codes": ["loinc|1"], "values": ["snomed|52101004"]}
    )
    code = {"coding": [{"system": "http://loinc.org", "code": "1"}]}
    said = {"coding": [{"system": "http://snomed.info/sct", "code": value}]}
    raw = {"id": "o", "status": "final", "code": code, "valueCodeableConcept": said}
    told = read(Observation, raw | {"subject": {"reference": "Patient/p"}})
    assert Wanted(definition, definition.who.having["nodule"]).met_by(told) is met
