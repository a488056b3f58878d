"""Doubt means no: what consents permit, and what they do not."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_app.data.fhir import consent as module
from client_app.data.fhir.consent import ConsentRules, decide
from client_app.data.fhir.parts import read
from client_app.data.fhir.people import Consent
from client_app.data.keys import comparable

TODAY = date(2026, 6, 15)
TERMINOLOGY = "http://terminology.hl7.org/CodeSystem/"
REASON = f"{TERMINOLOGY}v3-ActReason"
RESEARCH, TRIALS, MARKETING, ANYTHING = (
    [{"system": REASON, "code": code}] for code in ("HRESCH", "CLINTRCH", "HMARKT", "PurposeOfUse")
)
PART = "urn:oid:2.16.840.1.113883.3.1937.777.24.5.3|8"  # use of images, in some hospital's form
OTHER_PART = "urn:oid:2.16.840.1.113883.3.1937.777.24.5.3|99"
NESTED, OVER, LIMITED = (
    "a denial inside a permission",
    "a permission that is over",
    "a permission for somebody else",
)
IN_TREATMENT = "a denial of research in a consent for treatment"
ENDED, UNREADABLE, LISTED = (
    "a permission taken back",
    "a consent that cannot be read",
    "a number written otherwise",
)


def concept(system, code):
    return {"coding": [{"system": system, "code": code}]}


def part(text):
    return concept(*text.rsplit("|", 1))


def consent(provision=None, scope="research", policy="OPTIN", **more):
    raw = {
        "id": "c",
        "status": "active",
        "scope": concept(f"{TERMINOLOGY}consentscope", scope),
        "patient": {"reference": "Patient/p"},
        "dateTime": "2025-01-10",
        "policyRule": concept(f"{TERMINOLOGY}v3-ActCode", policy),
        "provision": provision,
    }
    return read(Consent, {key: value for key, value in (raw | more).items() if value is not None})


def permit(*inner, **more):
    return {"type": "permit", "purpose": RESEARCH, "provision": list(inner)} | more


def deny(*inner, **more):
    return {"type": "deny", "provision": list(inner)} | more


def decided(*consents, policy="opt_in", parts=()):
    return decide(consents, ConsentRules(policy=policy, parts=parts), TODAY)


def both(*consents, parts=()):
    """The rules by opt-in and by opt-out."""
    return decided(*consents, parts=parts).rule, decided(*consents, policy="opt_out", parts=parts).rule


DENIED, PERMITTED, NOTHING = ("denied", "denied"), ("permitted", "permitted"), ("no-permit", "not-denied")
UNCLEAR = ("unreadable-consent", "unreadable-consent")


def test_whoever_said_nothing_is_out_by_opt_in_and_in_by_opt_out():
    assert both() == NOTHING


@pytest.mark.parametrize(
    ("given", "rules"),
    [
        (consent(permit()), PERMITTED),
        (consent(permit(purpose=[])), PERMITTED),
        (consent(), PERMITTED),
        (consent(permit(), policy=None), PERMITTED),
        (consent(permit(period={"start": "2025", "end": "2026-06-15"})), PERMITTED),
        (consent(permit(), status="draft"), NOTHING),
        (consent(permit(), status="proposed"), NOTHING),
        (consent(permit(), status="entered-in-error"), NOTHING),
        (consent(permit(), scope="patient-privacy"), NOTHING),
        (consent(permit(), scope="treatment"), NOTHING),
        (consent(permit(purpose=TRIALS)), NOTHING),
        (consent(permit(purpose=MARKETING)), NOTHING),
        (consent(deny()), DENIED),
        (consent(deny(purpose=RESEARCH)), DENIED),
        (consent(deny(purpose=TRIALS)), DENIED),
        (consent(deny(purpose=ANYTHING)), DENIED),
        (consent(deny(purpose=MARKETING)), NOTHING),
        (consent(deny(purpose=[{"system": "urn:ours", "code": "x"}])), DENIED),
        (consent(deny(), scope="patient-privacy"), DENIED),
        (consent(deny(), scope="somebody's own"), DENIED),
        (consent(deny(), scope="treatment"), NOTHING),
        (consent(policy="OPTOUT"), DENIED),
        (consent(deny(actor=[{"reference": {"reference": "Organization/o"}}])), DENIED),
        (consent(deny(period={"end": "2026-06-14"})), NOTHING),
        (consent(deny(period={"end": "2026"})), DENIED),
        (consent(deny(period={"start": "2026-06"})), DENIED),
        (consent(deny(period={"start": "2026-06-16"})), NOTHING),
        (consent(deny(permit())), PERMITTED),
        (consent(deny(permit(period={"end": "2026-01"}))), DENIED),
        (consent(policy=None), UNCLEAR),
        (consent({}, policy="NOPP"), UNCLEAR),
        (consent(permit(), policy="OPTOUT"), UNCLEAR),
        (consent(policy="OPTINR"), UNCLEAR),
        (consent(permit({"purpose": RESEARCH})), UNCLEAR),
        (consent(permit(permit({"code": [part(PART)]}))), UNCLEAR),
        (consent(permit({"purpose": RESEARCH}, deny())), DENIED),
    ],
)
def test_a_consent_says(given, rules):
    assert given is not None
    assert both(given) == rules


DENIALS_INSIDE = {
    "one deep": permit(deny()),
    "two deep": permit(permit(deny(purpose=RESEARCH))),
    "beside a permission": permit(permit(), deny(), permit()),
    "of some data": permit(deny(code=[part(OTHER_PART)])),
    "of an organization": permit(deny(actor=[{"role": {}}])),
    "in a permission that is over": permit(permit(deny(), period={"end": "2025"})),
    "that ends this year": permit(deny(period={"end": "2026"})),
    "in a denial": deny(permit(deny())),
}


@pytest.mark.attack(NESTED, held_by="a denial at any depth is one")
@pytest.mark.parametrize("name", DENIALS_INSIDE)
def test_a_denial_inside_counts(name):
    assert both(consent(DENIALS_INSIDE[name])) == DENIED


@pytest.mark.mutant(NESTED, how="only the outermost provision is read")
@pytest.mark.parametrize("name", ["one deep", "two deep", "beside a permission"])
def test_the_outermost_provision_does_not_say_it_all(name):
    outermost = DENIALS_INSIDE[name] | {"provision": []}
    assert both(consent(outermost)) == PERMITTED


OVER_OR_NOT_YET = [
    {"end": "2026-06-14"},
    {"end": "2026"},
    {"end": "2026-06"},
    {"start": "2026-06-16"},
    {"start": "2026"},
]


@pytest.mark.attack(OVER, held_by="today surely lies in its period")
@pytest.mark.parametrize("period", OVER_OR_NOT_YET)
def test_a_permission_outside_its_period_is_none(period):
    assert both(consent(permit(period=period))) == NOTHING
    assert both(consent(permit(permit(), period=period))) == NOTHING


@pytest.mark.mutant(OVER, how="periods are not looked at")
def test_without_its_period_a_permission_would_last_for_ever(monkeypatch):
    monkeypatch.setattr(module, "_holds", lambda *_: True)
    assert both(consent(permit(period={"end": "2026-06-14"}))) == PERMITTED


LIMITS = [
    {"actor": [{"role": {}, "reference": {"reference": "Organization/o"}}]},
    {"action": [concept("urn:x", "collect")]},
    {"securityLabel": [{"system": "urn:x", "code": "N"}]},
    {"class": [{"system": "urn:x", "code": "y"}]},
    {"code": [part(OTHER_PART)]},
    {"data": [{"meaning": "instance", "reference": {"reference": "ImagingStudy/s"}}]},
    {"dataPeriod": {"start": "2020"}},
]


@pytest.mark.attack(LIMITED, held_by="a permission that is limited in a way not known here is none")
@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: next(iter(limit)))
def test_a_permission_with_limits_is_none(limit):
    assert both(consent(permit(**limit)), parts=[PART]) == NOTHING
    assert both(consent(permit(permit(), **limit)), parts=[PART]) == NOTHING


@pytest.mark.mutant(LIMITED, how="limits are not looked at")
def test_without_its_limits_a_permission_would_be_for_everybody(monkeypatch):
    monkeypatch.setattr(module, "_covers", lambda provision, rules, today: True)
    assert both(consent(permit(**LIMITS[0]))) == PERMITTED


def test_a_part_of_the_form_that_the_hospital_names_is_permitted_or_denied():
    form = deny(permit(code=[part(OTHER_PART)]), permit(code=[part(PART)]))
    assert both(consent(form), parts=[PART]) == PERMITTED
    assert both(consent(form)) == DENIED
    assert (
        both(consent(deny(permit(code=[part(PART)]), deny(code=[part(OTHER_PART)]))), parts=[PART])
        == PERMITTED
    )
    assert (
        both(consent(deny(permit(code=[part(OTHER_PART)]), deny(code=[part(PART)]))), parts=[PART]) == DENIED
    )


FOR_TREATMENT = [
    consent(deny(purpose=RESEARCH), scope="treatment"),
    consent(permit(deny(purpose=RESEARCH), purpose=[]), scope="treatment"),
    consent(permit(deny(deny(purpose=TRIALS), purpose=MARKETING), purpose=[]), scope="adr"),
    consent(deny(purpose=[{"system": "http://hl7.org/fhir/v3/ActReason", "code": "HRESCH"}]), scope="adr"),
]


@pytest.mark.attack(IN_TREATMENT, held_by="a consent with research among its purposes is about research")
@pytest.mark.parametrize("form", FOR_TREATMENT)
def test_a_denial_of_research_in_a_consent_for_treatment_counts(form):
    assert both(form) == DENIED
    assert both(consent(permit()), form) == DENIED


@pytest.mark.mutant(IN_TREATMENT, how="the scope alone is read")
def test_the_scope_does_not_say_it_all(monkeypatch):
    monkeypatch.setattr(module, "_names_research", lambda _: False)
    assert both(consent(permit()), FOR_TREATMENT[1]) == PERMITTED


BEFORE, AFTER = "2024-12-31", "2025-02-01"
TAKEN_BACK = [
    consent(permit(), status="rejected", dateTime=AFTER),
    consent(permit(), status="inactive", dateTime=AFTER),
    consent(permit(period={"end": AFTER}), status="inactive", dateTime=AFTER),
    consent(deny(permit()), status="inactive", dateTime=AFTER),
    consent(policy=None, status="inactive", dateTime=AFTER),
    consent(permit(), status="rejected", dateTime="2025"),
    consent(permit(), status="rejected", dateTime="2025-01-10T23:00:00Z"),  # on the same day
    consent(permit(), status="rejected", dateTime=None),
]


@pytest.mark.attack(ENDED, held_by="only a later permission takes the place of one that was ended")
@pytest.mark.parametrize("ended", TAKEN_BACK)
def test_a_permission_that_was_taken_back_is_a_denial(ended):
    assert both(ended) == DENIED
    assert both(consent(permit()), ended) == DENIED


@pytest.mark.mutant(ENDED, how="only active consents are read")
def test_active_consents_do_not_say_it_all():
    active = [each for each in (consent(permit()), TAKEN_BACK[0]) if each.status == "active"]
    assert both(*active) == PERMITTED


@pytest.mark.attack(ENDED, held_by="only a later permission takes the place of one that was ended")
@pytest.mark.parametrize("given", ["2062-01-10", "2027", "2026-06-16"])
def test_a_permission_of_a_day_to_come_is_none_yet(given):
    mistyped = consent(permit(), dateTime=given)
    assert both(mistyped) == NOTHING
    assert both(mistyped, TAKEN_BACK[0]) == DENIED


@pytest.mark.mutant(ENDED, how="a permission is as late as it says")
def test_a_mistyped_year_outlasts_a_denial(monkeypatch):
    monkeypatch.setattr(module, "_to_come", lambda *_: False)
    assert both(consent(permit(), dateTime="2062-01-10"), TAKEN_BACK[0]) == PERMITTED


def test_whoever_permits_again_is_in_again():
    ended = consent(permit(), status="inactive", dateTime=BEFORE)
    assert both(ended, consent(permit())) == PERMITTED
    assert both(ended, consent(deny()), consent(permit(), dateTime=AFTER)) == DENIED


def test_a_denial_that_was_ended_says_nothing():
    assert both(consent(deny(), status="inactive")) == NOTHING


STRANGE = [
    {"status": "retired"},
    {"patient": "Patient/p"},
    {"provision": {"type": "maybe"}},
    {"provision": permit(period={"end": "soon"})},
    {"provision": [permit()]},
    {"dateTime": "2025-99"},
    {"implicitRules": "urn:ours"},
    {"provision": permit(modifierExtension=[{"url": "urn:not", "valueBoolean": True}])},
]


@pytest.mark.attack(UNREADABLE, held_by="one consent that cannot be read keeps the patient out")
@pytest.mark.parametrize("strange", STRANGE, ids=str)
def test_a_consent_that_cannot_be_read_keeps_the_patient_out(strange):
    raw = consent(**({"provision": permit()} | strange))
    assert raw is None
    assert both(consent(permit()), raw) == UNCLEAR


@pytest.mark.mutant(UNREADABLE, how="what cannot be read is left out")
def test_leaving_out_what_cannot_be_read_lets_a_patient_in():
    readable = [each for each in (consent(permit()), consent({"type": "maybe"})) if each is not None]
    assert both(*readable) == PERMITTED


@pytest.mark.mutant(UNREADABLE, how="an exception that does not say which is none")
def test_an_exception_that_does_not_say_which_may_be_a_denial(monkeypatch):
    monkeypatch.setattr(module, "_untold_inside", lambda _: False)
    assert both(consent(permit({"purpose": RESEARCH}))) == PERMITTED


provisions = st.recursive(
    st.builds(lambda kind: {"type": kind}, st.sampled_from(["permit", "deny"])),
    lambda inner: st.builds(
        lambda kind, few: {"type": kind, "provision": few},
        st.sampled_from(["permit", "deny"]),
        st.lists(inner, max_size=3),
    ),
    max_leaves=8,
)


def kinds_inside(provision):
    for each in provision.get("provision", ()):
        yield each["type"]
        yield from kinds_inside(each)


@given(provisions, st.sampled_from(["opt_in", "opt_out"]))
def test_whoever_has_a_denial_below_the_root_is_never_in(provision, policy):
    inner = list(kinds_inside(provision))
    decision = decided(consent(provision), policy=policy)
    if "deny" in inner:
        assert decision.rule == "denied"
    else:
        assert decision.allowed == ("permit" in (provision["type"], *inner))


@given(
    st.permutations(
        [consent(permit()), TAKEN_BACK[1], consent(deny(purpose=MARKETING)), consent(policy="OPTOUT")]
    )
)
def test_the_order_of_consents_changes_nothing(consents):
    assert both(*consents) == DENIED


@pytest.mark.parametrize(
    "number",
    [
        "0012-ab",
        "12-AB",
        " 12-Ab\t",
        "00 12-ab",
        "\ufeff12\u200b-ab",
        "\uff11\uff12-\uff41\uff42",
        "12\xa0-ab",
    ],
)
def test_a_number_is_the_same_however_it_is_written(number):
    assert comparable(number) == "12-ab"
