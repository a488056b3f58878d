"""Consents and opt-outs of people, as a real server has them."""

import itertools
from datetime import date

import httpx
import pytest
from fhir_asking import asking, pseudonym
from fhir_scripted import scripted
from fhir_server import running_fhir_server

from client_app.data.fhir import gate as module
from client_app.data.fhir.consent import ConsentRules, Decision
from client_app.data.fhir.gate import ConsentGate, to_tombstone
from client_app.data.fhir.people import Patient
from client_app.data.keys import Pseudonyms
from federation.errors import DataError
from simulation.hospital.records import MRN, nodule_patient_bundle, research_consent, transaction

LISTED, LINKED = (
    "an opt-out by a number that is written otherwise",
    "a denial in another record of the person",
)
NOBODY = "a server that tells of others than were asked for"
WRITTEN_TWICE = "a denial of somebody whose number is written in another way, too"
IN_PART = "a denial in a record of the person that cannot be read whole"


@pytest.fixture(scope="module")
def server():
    with running_fhir_server() as server:
        yield server


@pytest.fixture
def person(server, request):
    """``person(number, consent)``: their number and the id of their record."""

    def post(number, consent="permit", **changes):
        numbered = f"{request.node.name}/{number}"
        bundle = nodule_patient_bundle(
            numbered, study_uid="1.2", accession="A", malignant=None, diameter_mm=None, consent=consent
        )
        patient = bundle["entry"][0]["resource"]
        patient.update(changes)
        bundle["entry"] = [
            each for each in bundle["entry"] if each["resource"]["resourceType"] in ("Patient", "Consent")
        ]
        server.post(bundle)
        found = httpx.get(f"{server.url}/Patient?_count=200").json()
        return numbered, found["entry"][-1]["resource"]["id"]  # the last one that was made

    return post


def checked(server, *numbers, opt_outs=None, policy="opt_in", url=None):
    with asking(url or server.url) as client:
        rules = ConsentRules(policy=policy, opt_outs=opt_outs)
        return ConsentGate(client, MRN, rules, date.today()).check(numbers)


@pytest.mark.parametrize(
    ("consent", "opt_in", "opt_out"),
    [
        ("permit", "permitted", "permitted"),
        ("deny", "denied", "denied"),
        ("nested-deny", "denied", "denied"),
        ("rejected", "denied", "denied"),
        ("expired", "no-permit", "not-denied"),
        ("draft", "no-permit", "not-denied"),
        ("none", "no-permit", "not-denied"),
    ],
)
def test_a_patient_is_in_by_the_hospitals_policy(consent, opt_in, opt_out, person, server):
    number, _ = person("1", consent)
    assert checked(server, number)[number].rule == opt_in
    assert checked(server, number, policy="opt_out")[number].rule == opt_out


@pytest.mark.parametrize("policy", ["opt_in", "opt_out"])
def test_whom_the_server_does_not_know_is_out(server, policy):
    assert checked(server, "nobody", policy=policy) == {"nobody": Decision(False, "not-found", 0)}


def test_signs_of_the_search_mean_themselves(server):
    with scripted(lambda _: (200, {}, {"resourceType": "Bundle"})) as recording:
        checked(server, "1,2|3$4\\5", url=recording.url)
    [query] = recording.asked[0].form["identifier"]
    assert query == f"{MRN}|1\\,2\\|3\\$4\\\\5"


def listed(tmp_path, *numbers):
    file = tmp_path / "opt_outs.csv"
    file.write_text("patient\n" + "".join(f"{number}\n" for number in numbers))
    return file


@pytest.mark.attack(LISTED, held_by="numbers are compared without case, spaces and zeros in front")
@pytest.mark.parametrize("written", ["{}", "00{}", "{} ", "upper"])
def test_whoever_opted_out_is_out_whatever_else_is_said(written, person, server, tmp_path):
    number, _ = person("ab")
    told = number.upper() if written == "upper" else written.format(number)
    assert checked(server, number, opt_outs=listed(tmp_path, "x", told))[number].rule == "opted-out"


@pytest.mark.mutant(LISTED, how="numbers are compared as they are")
def test_a_number_that_is_compared_as_it_is_misses_the_patient(person, server, tmp_path, monkeypatch):
    monkeypatch.setattr("client_app.data.opt_outs.comparable", str)
    number, _ = person("ab")
    assert checked(server, number, opt_outs=listed(tmp_path, f"00{number}"))[number].allowed


def test_a_list_that_is_missing_stops_everything(server, tmp_path):
    with pytest.raises(DataError, match=r"opt_outs.csv cannot be read"):
        checked(server, "1", opt_outs=tmp_path / "opt_outs.csv")


def linked(kind, key):
    return [{"type": kind, "other": {"reference": f"Patient/{key}"}}]


def denied_elsewhere(person, direction, server):
    """The number of somebody who permits in one record and denies in another."""
    if direction == "the old one names the new":
        number, key = person("new")
        person("old", "deny", link=linked("replaced-by", key))
    elif direction == "the old one is not given any more":
        _, key = person("old", "deny")
        assert httpx.delete(f"{server.url}/Patient/{key}").is_success
        number, _ = person("new", link=linked("replaces", key))
    elif direction == "the new one names the old":
        _, key = person("old", "deny")
        number, _ = person("new", link=linked("replaces", key))
    elif direction == "over a third record":
        _, oldest = person("oldest", "deny")
        _, older = person("older", "none", link=linked("replaces", oldest))
        number, _ = person("new", link=linked("replaces", older))
    else:
        number, _ = person("new")
        person("new", "deny")
    return number


@pytest.mark.attack(LINKED, held_by="consents of all records with the number, and of those linked, are read")
@pytest.mark.parametrize(
    "direction",
    [
        "the old one names the new",
        "the new one names the old",
        "the old one is not given any more",
        "over a third record",
        "one number",
    ],
)
def test_a_denial_in_another_record_of_the_person_counts(direction, person, server):
    number = denied_elsewhere(person, direction, server)
    assert checked(server, number)[number].rule == "denied"


@pytest.mark.mutant(LINKED, how="only the record itself is read")
@pytest.mark.parametrize(
    "direction", ["the old one names the new", "the new one names the old", "over a third record"]
)
def test_the_record_itself_does_not_say_it_all(direction, person, server, monkeypatch):
    number = denied_elsewhere(person, direction, server)
    alone = lambda self, records: {key: each.model_copy(update={"link": ()}) for key, each in records.items()}  # noqa: E731
    monkeypatch.setattr(ConsentGate, "_linked", alone)
    assert checked(server, number)[number].allowed


@pytest.mark.mutant(LINKED, how="links are followed once")
def test_the_next_record_does_not_say_it_all_either(person, server, monkeypatch):
    number = denied_elsewhere(person, "over a third record", server)
    once = lambda own, people: set(own).union(*(people[key].linked for key in own))  # noqa: E731
    monkeypatch.setattr(module, "_joined", once)
    assert checked(server, number)[number].allowed


def test_records_that_are_linked_without_end_are_an_error(server):
    def answer(request):
        keys = request.form.get("_id", ["r0"])
        entries = [
            {
                "resource": {
                    "resourceType": "Patient",
                    "id": key,
                    "identifier": [{"system": MRN, "value": "1"}],
                    "link": linked("replaces", f"{key}0"),
                }
            }
            for key in keys
        ]
        return 200, {}, {"resourceType": "Bundle", "entry": [] if "link" in request.form else entries}

    with scripted(answer) as endless, pytest.raises(DataError, match="linked with others over more than"):
        checked(server, "1", url=endless.url)


def test_an_opt_out_by_an_old_number_counts(person, server, tmp_path):
    person(
        "new", identifier=[{"system": MRN, "value": "NEW-7"}, {"system": MRN, "value": "OLD-7", "use": "old"}]
    )
    assert checked(server, "NEW-7")["NEW-7"].allowed
    assert checked(server, "NEW-7", opt_outs=listed(tmp_path, "old-7"))["NEW-7"].rule == "opted-out"


def test_two_records_with_one_number_are_counted(person, server):
    number, _ = person("same")
    person("same")
    assert checked(server, number)[number] == Decision(True, "permitted", 2)


def test_whoever_withdraws_later_is_on_the_list_to_tombstone(person, server):
    numbers = [person(name)[0] for name in ("stays", "denies", "leaves")]
    stored = [pseudonym(number) for number in numbers]
    before = checked(server, *numbers)
    assert to_tombstone(stored, before, pseudonym) == {}

    found = httpx.get(f"{server.url}/Patient", params={"identifier": f"{MRN}|{numbers[1]}"}).json()
    key = found["entry"][0]["resource"]["id"]
    urn = "urn:uuid:7b1e2c44-8a1b-4c55-9d60-2f0c1b0c0a01"
    server.post(transaction([(urn, research_consent(f"Patient/{key}", "deny", on="2026-01-01"))]))
    now = checked(server, *numbers[:2])
    assert to_tombstone(stored, now, pseudonym) == {stored[1]: "denied", stored[2]: "not-found"}


KEY = Pseudonyms(bytes(32))
NO, MAYBE, UNKNOWN, YES = (
    *(Decision(False, rule) for rule in ("denied", "no-permit", "not-found")),
    Decision(True, "permitted"),
)


@pytest.mark.attack(WRITTEN_TWICE, held_by="what keeps somebody out counts, whatever else is said of them")
@pytest.mark.parametrize("ways", [1, 2, 3, 4])
def test_of_a_number_that_is_written_in_several_ways_what_keeps_somebody_out_counts(ways):
    worst_first = [NO, MAYBE, YES, UNKNOWN]
    for said in itertools.permutations(worst_first, ways):
        worst = min(said, key=worst_first.index)
        decisions = dict(zip(["7", "07", "007", "0007"], said, strict=False))
        expected = {} if worst.allowed else {KEY.patient("7"): worst.rule}
        assert to_tombstone([KEY.patient("7")], decisions, KEY.patient) == expected


@pytest.mark.mutant(WRITTEN_TWICE, how="the decision of the number that comes first counts")
def test_where_the_first_of_two_numbers_counts_a_denial_is_overheard(monkeypatch):
    monkeypatch.setattr(module, "_standing", lambda _: 0)
    assert to_tombstone([KEY.patient("7")], {"7": YES, "07": NO}, KEY.patient) == {}


def of_another(request):
    kind = request.path.split("/")[2]
    resource = {
        "resourceType": kind,
        "id": "x",
        "status": "active",
        "patient": {"reference": "Patient/other"},
    }
    if kind == "Patient":
        resource = {"resourceType": kind, "id": "p", "identifier": [{"system": MRN, "value": "1"}]}
    return 200, {}, {"resourceType": "Bundle", "entry": [{"resource": resource}]}


@pytest.mark.attack(NOBODY, held_by="each resource is of a patient who was asked for")
def test_a_server_that_does_not_heed_whom_it_is_asked_for_is_not_believed(server):
    with (
        scripted(of_another) as deaf,
        pytest.raises(DataError, match="tells of patients that it was not asked for"),
    ):
        checked(server, "1", url=deaf.url)


@pytest.mark.mutant(NOBODY, how="whatever comes is taken for the first patient's")
def test_what_is_taken_for_the_patients_own_decides_on_them(server, monkeypatch):
    monkeypatch.setattr(module, "asked_for", lambda kind, resource, field, patients: sorted(patients)[0])
    with scripted(of_another) as deaf:
        assert checked(server, "1", url=deaf.url)["1"].rule == "unreadable-consent"


def one_record_in_part(strange):
    """Answers of a server with two records of number 1: a permission in one, a denial in a strange one."""
    records = {"a": {}, "b": strange}
    numbered = {"identifier": [{"system": MRN, "value": "1"}]}
    people = [{"resourceType": "Patient", "id": key, **numbered, **more} for key, more in records.items()]
    said = [
        {"id": f"of-{key}", **research_consent(f"Patient/{key}", kind, on="2025-01-01")}
        for key, kind in (("a", "permit"), ("b", "deny"))
    ]

    def answer(request):
        found = said if "Consent" in request.path else people if "identifier" in request.form else []
        return 200, {}, {"resourceType": "Bundle", "entry": [{"resource": each} for each in found]}

    return answer


STRANGE = [
    {"birthDate": "1956-02-30"},
    {"modifierExtension": [{"url": "urn:ours", "valueBoolean": True}]},
    {"link": [{"type": "seealso", "other": "somebody"}]},
    {"identifier": [{"system": MRN, "value": "1"}, {"system": MRN, "value": 7}]},
]


@pytest.mark.attack(IN_PART, held_by="of such a record number and links are read all the same")
@pytest.mark.parametrize("strange", STRANGE, ids=lambda strange: next(iter(strange)))
def test_a_denial_in_a_record_that_cannot_be_read_whole_counts(strange, server):
    with scripted(one_record_in_part(strange)) as server_of_two:
        assert checked(server, "1", url=server_of_two.url)["1"] == Decision(False, "denied", 2)


@pytest.mark.mutant(IN_PART, how="what cannot be read is left out")
def test_what_cannot_be_read_whole_is_missed_where_it_is_left_out(server, monkeypatch):
    monkeypatch.setattr(module, "_in_part", lambda resource: Patient(id=resource["id"]))
    with scripted(one_record_in_part(STRANGE[0])) as server_of_two:
        assert checked(server, "1", url=server_of_two.url)["1"].allowed


def test_whom_only_such_a_record_knows_is_out(server):
    alone = {"resourceType": "Patient", "id": "p", "identifier": [{"system": MRN, "value": "1"}]} | STRANGE[1]

    def answer(request):
        entries = [{"resource": alone}] if "identifier" in request.form else []
        return 200, {}, {"resourceType": "Bundle", "entry": entries}

    with scripted(answer) as strange:
        assert checked(server, "1", url=strange.url, policy="opt_out")["1"].rule == "not-found"


def test_a_record_that_cannot_be_read_is_not_found(server):
    broken = {"resourceType": "Patient", "id": "p", "identifier": "1"}

    def answer(request):
        entries = [{"resource": broken}] if "Patient" in request.path else []
        return 200, {}, {"resourceType": "Bundle", "entry": entries}

    with scripted(answer) as strange:
        assert checked(server, "1", url=strange.url, policy="opt_out")["1"].rule == "not-found"
