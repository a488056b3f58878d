"""A few hundred synthetic patients on a real server: who is in, who is out, and by which rule."""

import io
import logging
from collections import Counter
from dataclasses import dataclass

import pytest
from fhir_asking import found, lung_nodule, pseudonym
from fhir_server import running_fhir_server

from client_app.books.findings import findings_table
from client_app.data.fhir import judge as module
from client_app.data.fhir.cohort import CohortFinder, Selection
from client_app.data.fhir.consent import Decision
from client_app.data.fhir.gate import ConsentGate
from client_app.data.fhir.quality import quality
from federation.command_line import print_table
from simulation.hospital.records import MRN, NAMES, SNOMED, nodule_patient_bundle

OPTED_OUT, SHARED, TOLD = "an opt-out is pulled", "somebody else's images", "a patient's name in what is told"
CONSENTS = (
    "permit",
    "deny",
    "nested-deny",
    "expired",
    "rejected",
    "draft",
    "none",
    "permit",
    "permit",
    "permit",
)
MISSING = 9  # of ten patients, whose report concludes nothing


def usual(number, **changes):
    """A patient as most of them are, in one of ten consents, three units and two codings."""
    given = {
        "study_uid": f"1.2.826.0.1.3680043.{number}",
        "accession": f"ACC{number:05d}",
        "malignant": bool(number % 4 < 2) if number % 10 != MISSING else None,
        "diameter_mm": 5.0 + number % 20,
        "area_mm2": 30.0 + number,
        "name": NAMES[number % len(NAMES)],
        "coding": ("snomed", "icd10")[number % 2],
        "unit": ("mm", "cm", "[in_i]")[number % 3],
        "consent": CONSENTS[number % 10],
        "born": ("1957-08-14", "1940", "1960-05")[number % 3],
    }
    return nodule_patient_bundle(f"MRN-{number:05d}", **{**given, **changes})


def resources(bundle, kind):
    return [entry["resource"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == kind]


def with_patient(bundle, **changes):
    resources(bundle, "Patient")[0].update(changes)
    return bundle


def called(bundle, uid):
    """One whose study has a strange UID."""
    resources(bundle, "ImagingStudy")[0]["identifier"][0]["value"] = f"urn:oid:{uid}"
    return bundle


def modified(bundle, kind):
    """One of whom a resource says that it means something else than it seems to."""
    [resource] = resources(bundle, kind)
    resource["modifierExtension"] = [{"url": "urn:this-is-not-so", "valueBoolean": True}]
    return bundle


def ordered(bundle, accession):
    """One whose study has a strange accession."""
    resources(bundle, "ImagingStudy")[0]["identifier"][1]["value"] = accession
    return bundle


def measured_inside(bundle):
    """One whose diameter is a component of a panel."""
    [diameter, _] = resources(bundle, "Observation")
    component = {name: diameter.pop(name) for name in ("code", "valueQuantity")}
    diameter |= {
        "code": {"coding": [{"system": "http://loinc.org", "code": "21889-1"}]},
        "component": [component],
    }
    return bundle


def with_operation(bundle):
    """One who had a part of the lung removed."""
    operation = {
        "resourceType": "Procedure",
        "status": "completed",
        "subject": resources(bundle, "Condition")[0]["subject"],
        "code": {"coding": [{"system": SNOMED, "code": "173171007"}]},
    }
    urn = "urn:uuid:0c5bd3c6-7d1b-4a8a-9f3e-6d3f6b1f8a01"
    bundle["entry"].append(
        {"fullUrl": urn, "resource": operation, "request": {"method": "POST", "url": "Procedure"}}
    )
    return bundle


def without(bundle, kind):
    kept = [entry for entry in bundle["entry"] if entry["resource"]["resourceType"] != kind]
    return bundle | {"entry": kept}


def fine(number, **changes):
    """A patient who is in but for ``changes``."""
    return usual(number, **{"consent": "permit", "malignant": True, **changes})


# By number of a patient: what is strange, and the rules that keep them out, if any.
STRANGE = {
    1001: (fine(1001, modality="MR"), ("no-images",)),
    1002: (fine(1002, born="2010"), ("age",)),
    1003: (fine(1003, born=None), ("age-unknown",)),
    1004: (fine(1004, born="1871-01-18"), ("age",)),
    1005: (fine(1005, born="2006-03"), ("age-unknown",)),
    1006: (fine(1006, born="2006-02"), ()),
    1007: (fine(1007, scanned="2024"), ("not-near-nodule",)),
    1008: (fine(1008, scanned="2024-03", born="1898"), ("age",)),
    1009: (fine(1009, scanned="1899-12-31", born="1860-01-01"), ()),
    1010: (fine(1010, accession="TWICE"), ("shared-study",)),
    1011: (fine(1011, accession="TWICE"), ("shared-study",)),
    1012: (fine(1012, study_uid="1.2.7"), ("shared-study",)),
    1013: (fine(1013, study_uid="1.2.7"), ("shared-study",)),
    1014: (called(fine(1014), "1.2/../../etc"), ("no-study-uid",)),
    1015: (called(fine(1015), "1.2.*"), ("no-study-uid",)),
    1016: (with_patient(fine(1016), active=False), ("replaced-record",)),
    1017: (
        with_patient(fine(1017), identifier=[{"system": "urn:other", "value": "MRN-01017"}]),
        ("no-number",),
    ),
    1018: (
        with_patient(fine(1018), identifier=[{"system": MRN, "value": f"MRN-{n}"} for n in ("01018", "x")]),
        ("several-numbers",),
    ),
    1019: (with_operation(fine(1019)), ("has-operated",)),
    1020: (without(fine(1020), "Condition"), ("no-nodule",)),
    1021: (fine(1021, sex="unknown"), ("sex",)),
    1022: (fine(1022, diameter_mm=None), ()),
    1023: (fine(1023), ("opted-out",)),
    1024: (modified(fine(1024), "DiagnosticReport"), ("missing-malignancy",)),
    1025: (modified(fine(1025), "Consent"), ("unreadable-consent",)),
    1027: (measured_inside(fine(1027)), ()),
    1028: (ordered(fine(1028), "*"), ()),
    1026: (modified(fine(1026), "Patient"), ("unreadable-record",)),
}
TWO_HAVE_ONE = {f"MRN-{number:05d}" for number in (1010, 1011, 1012, 1013)}  # by accession, by UID


def definition(**changes):
    operated = {"resource": "Procedure", "codes": ["snomed|173171007"]}
    return lung_nodule(who__without={"operated": operated}, who__sex=["female", "male"], **changes)


@pytest.fixture(scope="module")
def server():
    with running_fhir_server() as server:
        for number in range(240):
            server.post(usual(number))
        for bundle, _ in STRANGE.values():
            server.post(bundle)
        server.post(fine(2000))
        server.post(fine(2000, study_uid="1.2.8", accession="OTHER"))
        yield server


@pytest.fixture(scope="module")
def opt_outs(tmp_path_factory):
    file = tmp_path_factory.mktemp("lists") / "opt_outs.csv"
    file.write_text("patient;told\nmrn-01023;2024-02-03\nMRN-00007;2023-01-01\n", encoding="utf-8-sig")
    return file


@pytest.fixture(scope="module")
def selection(server, opt_outs):
    return found(server.url, definition(), opt_outs=opt_outs)


@dataclass
class Again:
    """The cohort found once more, how many patients' facts were asked for, and all that was logged."""

    selection: Selection
    looked_at: int
    logged: str


@pytest.fixture(scope="module")
def again(server, opt_outs):
    looked_at, stream = [], io.StringIO()
    handler, root, told = logging.StreamHandler(stream), logging.getLogger(), CohortFinder._told
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                CohortFinder, "_told", lambda self, keys: looked_at.extend(keys) or told(self, keys)
            )
            logging.getLogger("tests").debug("begun")
            selection = found(server.url, definition(), opt_outs=opt_outs)
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    return Again(selection, len(looked_at), stream.getvalue())


def expected_out(number):
    """The rules that keep a usual patient out."""
    if number == 7:
        return ("opted-out",)
    by_consent = {"deny": "denied", "nested-deny": "denied", "rejected": "denied"}
    consent = CONSENTS[number % 10]
    if consent != "permit":
        return (by_consent.get(consent, "no-permit"),)
    return ("missing-malignancy",) if number % 10 == MISSING else ()


def test_the_right_patients_are_in(selection):
    usual_ones = {f"MRN-{number:05d}" for number in range(240) if not expected_out(number)}
    strange_ones = {f"MRN-{number:05d}" for number, (_, out) in STRANGE.items() if not out}
    assert {case.patient for case in selection.cases} == usual_ones | strange_ones
    assert len(selection.cases) == len(usual_ones | strange_ones) == 76


def test_for_every_patient_it_is_said_why(selection):
    told = {verdict.patient: verdict for verdict in selection.verdicts}
    for number in range(240):
        verdict = told[pseudonym(f"MRN-{number:05d}")]
        out = expected_out(number)
        assert (verdict.taken, verdict.why) == (not out, out or ("permitted", "nodule", "images"))
    assert len(selection.verdicts) == 240 + len(STRANGE) + 2


@pytest.mark.parametrize("number", STRANGE)
def test_a_strange_patient_is_out_by_the_right_rule(number, selection):
    out = STRANGE[number][1]
    told = [
        verdict.why for verdict in selection.verdicts if verdict.patient == pseudonym(f"MRN-{number:05d}")
    ]
    if out in (
        ("no-number",),
        ("several-numbers",),
        ("unreadable-record",),
    ):  # a number of its own is not known
        assert Counter(verdict.why for verdict in selection.verdicts)[out] == 1
    else:
        assert told == [out or ("permitted", "nodule", "images")]


def test_two_records_with_one_number_are_both_out(selection):
    told = [verdict.why for verdict in selection.verdicts if verdict.patient == pseudonym("MRN-02000")]
    assert told == [("shared-number",)] * 2


def test_what_is_known_of_a_study_is_in_the_definitions_units(selection):
    cases = {case.patient: case for case in selection.cases}
    for number in (0, 8, 20, 28):
        case = cases[f"MRN-{number:05d}"]
        assert case.features == {
            "malignancy": "malignant" if number % 4 < 2 else "benign",
            "diameter_mm": 5.0 + number % 20,
            "area_mm2": 30.0 + number,
        }
        assert case.study_uid == f"1.2.826.0.1.3680043.{number}"
    assert "diameter_mm" not in cases["MRN-01022"].features
    assert cases["MRN-01027"].features["diameter_mm"] == 12.0


@pytest.mark.attack(OPTED_OUT, held_by="consent and the list are asked before any study is chosen")
def test_nobody_who_said_no_is_among_the_cases(selection):
    no = {f"MRN-{number:05d}" for number in range(240) if CONSENTS[number % 10] != "permit"}
    assert {case.patient for case in selection.cases}.isdisjoint(no | {"MRN-00007", "MRN-01023"})


@pytest.mark.mutant(OPTED_OUT, how="the list is not read")
def test_without_the_list_whoever_is_on_it_is_pulled(server):
    cases = found(server.url, definition()).cases
    assert {"MRN-00007", "MRN-01023"} <= {case.patient for case in cases}


@pytest.mark.mutant(OPTED_OUT, how="every consent is taken for a permission")
def test_without_the_gate_whoever_said_no_is_pulled(server, monkeypatch):
    monkeypatch.setattr(ConsentGate, "_decide", lambda *_: Decision(True, "permitted"))
    cases = found(server.url, definition()).cases
    assert {"MRN-00001", "MRN-00002", "MRN-00004"} <= {case.patient for case in cases}


@pytest.mark.attack(OPTED_OUT, held_by="consent and the list are asked before any study is chosen")
def test_of_whoever_said_no_nothing_more_is_asked(again):
    by_consent = {"denied", "no-permit", "opted-out", "unreadable-consent"}
    said_no = sum(bool(by_consent.intersection(verdict.why)) for verdict in again.selection.verdicts)
    assert said_no > 140
    assert again.looked_at < len(again.selection.verdicts) - said_no


@pytest.mark.attack(SHARED, held_by="a study that two patients have is nobody's")
def test_a_study_of_two_patients_is_taken_for_neither(selection):
    assert not TWO_HAVE_ONE & {case.patient for case in selection.cases}


@pytest.mark.mutant(SHARED, how="each patient is looked at alone")
def test_each_patient_alone_does_not_show_whose_a_study_is(server, monkeypatch):
    monkeypatch.setattr(module.Judge, "_against", strict_but_for_owners(module.Judge._against))
    cases = found(server.url, definition()).cases
    assert {case.patient for case in cases} >= TWO_HAVE_ONE


def strict_but_for_owners(against):
    def weakened(self, study, patient, findings):
        return against(self, study, patient, findings) - {"shared-study"}

    return weakened


def everything_told(selection, capsys):
    print_table(findings_table(quality(definition(), selection)))
    return capsys.readouterr().out + repr(selection) + repr(selection.cases) + repr(selection.verdicts)


IDENTIFYING = [
    *(part for name in NAMES for part in name),
    "MRN-",
    "ACC0",
    "1.2.826",
    "TWICE",
    "1957-08",
    "2024-03-05",
]


@pytest.mark.attack(TOLD, held_by="tables have counts, verdicts pseudonyms, and reprs nothing")
def test_nothing_that_is_told_names_anybody(selection, capsys):
    told = everything_told(selection, capsys)
    assert "no-permit" in told
    assert [text for text in IDENTIFYING if text in told] == []


@pytest.mark.mutant(TOLD, how="a repr shows a case's fields")
def test_a_repr_as_dataclasses_have_it_names_patients(selection, capsys):
    told = everything_told(selection, capsys) + str([vars(case) for case in selection.cases])
    assert {"MRN-", "1.2.826"} <= {text for text in IDENTIFYING if text in told}


def test_no_log_names_anybody(again):
    assert "begun" in again.logged
    assert [text for text in IDENTIFYING if text in again.logged] == []


def test_the_cohort_is_the_same_each_time(selection, again):
    assert {case.study_uid: vars(case) for case in selection.cases} == {
        case.study_uid: vars(case) for case in again.selection.cases
    }
    assert Counter(again.selection.verdicts) == Counter(selection.verdicts)


def test_hospitals_that_code_and_measure_in_different_ways_give_the_same_features():
    features = []
    for coding, unit in (("snomed", "mm"), ("icd10", "cm"), ("icd10", "[in_i]")):
        with running_fhir_server() as hospital:
            for number in range(0, 40, 2):
                hospital.post(fine(number, coding=coding, unit=unit, malignant=number % 4 == 0))
            cases = found(hospital.url, definition()).cases
        features.append({case.patient: dict(case.features) for case in cases})
    assert len(features[0]) == 20
    assert features[0] == features[1] == features[2]
