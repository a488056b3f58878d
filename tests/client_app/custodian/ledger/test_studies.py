from datetime import UTC, date, datetime

import pytest

from client_app.custodian.ledger.studies import Approval
from federation.errors import ConfigError, RefusedError

AGREED = Approval("Dr. Frei", datetime(2026, 3, 1, 12, tzinfo=UTC), date(2026, 12, 31), 3.0, "0.1.0+abc")


@pytest.fixture
def study(make_study):
    return make_study()


def test_a_study_waits_until_somebody_agrees(ledger, study, make_ledger):
    assert ledger.studies.find(study.id) is None
    assert ledger.studies.ask(study)
    assert not ledger.studies.ask(study), "it is known now"
    assert ledger.studies.find(study.id).state == "waiting"
    ledger.studies.approve(study.id, AGREED)
    found = make_ledger().studies.find(study.id)
    assert (found.state, found.approval, found.study) == ("approved", AGREED, study)


def test_a_study_is_named_by_the_beginning_of_its_id(ledger, studies):
    assert ledger.studies.named(studies[1][:12]).study.id == studies[1]


@pytest.mark.parametrize("beginning", ["", "zz"])
def test_what_names_no_study_or_several_is_told_with_those_there_are(beginning, ledger, studies):
    with pytest.raises(ConfigError, match=studies[0][:12]):
        ledger.studies.named(beginning)


def test_an_approval_can_be_given_anew(ledger, study):
    ledger.studies.ask(study)
    ledger.studies.approve(study.id, AGREED)
    later = Approval("Dr. Klein", AGREED.at, date(2027, 1, 1), None, "0.2.0+def")
    ledger.studies.approve(study.id, later)
    assert ledger.studies.find(study.id).approval == later


@pytest.mark.parametrize("approved", [False, True])
def test_a_revocation_is_for_good(approved, ledger, study):
    ledger.studies.ask(study)
    if approved:
        ledger.studies.approve(study.id, AGREED)
    ledger.studies.revoke(study.id, "Dr. Klein")
    found = ledger.studies.find(study.id)
    assert (found.state, found.revoked_by) == ("revoked", "Dr. Klein")
    with pytest.raises(ConfigError, match="revoked for good"):
        ledger.studies.approve(study.id, AGREED)


@pytest.mark.parametrize("step", ["approve", "revoke"])
def test_what_was_never_asked_for_cannot_be_decided(step, ledger, study):
    with pytest.raises(ConfigError, match="never asked for"):
        getattr(ledger.studies, step)(study.id, AGREED if step == "approve" else "Dr. Frei")


def test_an_inbox_cannot_be_flooded(ledger, make_study):
    for number in range(100):
        ledger.studies.ask(make_study(title=f"Study {number}"))
    with pytest.raises(RefusedError) as refusal:
        ledger.studies.ask(make_study(title="One more"))
    assert refusal.value.rule == "inbox-full"
    assert not ledger.studies.ask(make_study(title="Study 7")), "those that wait are not hurt"
