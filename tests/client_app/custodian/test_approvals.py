from datetime import UTC, date, datetime, timedelta

import pytest

from client_app.custodian.approvals import Agreement
from client_app.custodian.ledger.studies import Studies
from federation.errors import ConfigError
from federation.messages import DescribeReply, DescribeRequest, RefusalReply, TrainReply, TrainRequest

CHANGED = "a researcher changes ε, C, steps, the network or a transform of an approved study"
NEXT_YEAR = datetime.now(UTC).date() + timedelta(days=365)
YES = Agreement(by="Dr. Frei", until=NEXT_YEAR)


@pytest.fixture
def custodian(make_custodian):
    """One whose people decide."""
    return make_custodian(approval="operator")


@pytest.fixture
def study(make_study):
    return make_study()


@pytest.fixture
def ask(start_of):
    def asked(custodian, study, round_number=1):
        request = TrainRequest(study=study, round=round_number, parameters=start_of(study))
        return custodian.handle(request)

    return asked


def events(custodian):
    return [entry.event for entry in custodian.audit.entries()]


def test_a_study_that_nobody_knows_lands_in_the_inbox(custodian, study):
    reply = custodian.handle(DescribeRequest(study=study))
    assert (reply.kind, reply.rule) == ("refused", "not-approved")
    assert [proposal.study for proposal in custodian.ledger.studies.all()] == [study]
    assert custodian.handle(DescribeRequest(study=study)).rule == "not-approved"
    assert events(custodian) == ["inbox", "refused", "refused"]


def test_no_data_are_opened_for_a_study_that_waits(custodian, make_study):
    study = make_study(task={"options": {"fails_with": "the data were opened"}})
    assert custodian.handle(DescribeRequest(study=study)).rule == "not-approved"


def test_once_somebody_agrees_it_trains(custodian, study, ask):
    ask(custodian, study)
    proposal = custodian.approvals.approve(study.id[:12], YES)
    assert proposal.approval.by == "Dr. Frei"
    assert isinstance(ask(custodian, study), TrainReply)
    (entry,) = [entry for entry in custodian.audit.entries() if entry.event == "approved"]
    assert (entry.actor, entry.study) == ("Dr. Frei", study.id)
    assert entry.facts["epsilon_cap"] == study.privacy.epsilon


def test_a_revocation_stops_a_running_study_before_its_next_round(custodian, study, ask):
    ask(custodian, study)
    custodian.approvals.approve(study.id, YES)
    assert isinstance(ask(custodian, study, 1), TrainReply)
    custodian.approvals.revoke(study.id, "Dr. Frei")
    assert ask(custodian, study, 2).rule == "study-revoked"
    ((spent,),) = {tuple(history) for history in custodian.ledger.budget.histories().values()}
    assert spent.steps == study.training.steps, "what it has not used came back"


def test_a_simulation_approves_by_configuration_and_says_so(make_custodian, study, ask):
    custodian = make_custodian()
    assert isinstance(ask(custodian, study), TrainReply)
    assert custodian.ledger.studies.find(study.id).approval.by == "configuration"
    assert events(custodian)[:2] == ["inbox", "approved"]


def test_an_approval_ends_on_its_last_day(custodian, study, ask, monkeypatch):
    ask(custodian, study)
    custodian.approvals.approve(study.id, YES)
    monkeypatch.setattr(custodian.approvals, "_today", lambda: NEXT_YEAR)
    assert isinstance(ask(custodian, study, 1), TrainReply)
    monkeypatch.setattr(custodian.approvals, "_today", lambda: NEXT_YEAR + timedelta(days=1))
    assert ask(custodian, study, 2).rule == "approval-expired"


def test_another_release_of_the_program_needs_another_approval(custodian, study, ask, monkeypatch):
    ask(custodian, study)
    custodian.approvals.approve(study.id, YES)
    with monkeypatch.context() as patch:
        patch.setattr("client_app.custodian.approvals.installed_release", lambda package: "0.2.0+beef")
        assert ask(custodian, study).rule == "release-changed"
        custodian.approvals.approve(study.id, YES)
        assert isinstance(ask(custodian, study), TrainReply)


def test_a_study_stops_before_it_costs_more_than_was_agreed(custodian, study, ask):
    ask(custodian, study)
    custodian.approvals.approve(study.id, Agreement(by="Dr. Frei", until=NEXT_YEAR, epsilon_cap=5.0))
    replies = [ask(custodian, study, number) for number in (1, 2, 3, 4)]
    stopped = [reply.rule for reply in replies if isinstance(reply, RefusalReply)]
    assert isinstance(replies[0], TrainReply)
    assert stopped
    assert set(stopped) == {"epsilon-cap-reached"}
    last = len(replies) - len(stopped)
    assert isinstance(ask(custodian, study, last), TrainReply), "its last round may be asked for again"


@pytest.mark.parametrize(
    ("agreement", "said"),
    [
        (Agreement(by="Dr. Frei", until=date(2020, 1, 1)), "has passed"),
        (Agreement(by="Dr. Frei", until=NEXT_YEAR, epsilon_cap=1.0), "promises no privacy"),
    ],
)
def test_an_agreement_that_makes_no_sense_is_refused(agreement, said, custodian, make_study, no_privacy):
    study = make_study(privacy=no_privacy)
    custodian.handle(DescribeRequest(study=study))
    with pytest.raises(ConfigError, match=said):
        custodian.approvals.approve(study.id, agreement)
    assert custodian.ledger.studies.find(study.id).state == "waiting"


CHANGES = {
    "ε": {"privacy": {"epsilon": 8.5}},
    "δ": {"privacy": {"delta": 2e-5}},
    "C": {"privacy": {"clipping_norm": 2.0}},
    "sampling": {"privacy": {"sampling_rate": 0.5}},
    "steps": {"training": {"steps": 3}},
    "rounds": {"rounds": 5},
    "network": {"model": {"arguments": {"channels": [4, 8]}}},
    "what learns": {"model": {"trainable": "head"}},
    "transform": {"training": {"augmentation": {"views": 2, "rotation": 5, "shift": 0, "mirror": False}}},
    "task": {"task": {"options": {"patients": 30}}},
    "purpose": {"title": "Squares, and who pays for them"},
    "participants": {"participants": ["alder", "zelkova"]},
}


@pytest.mark.attack(CHANGED, held_by="an approval is of a study id, a hash of all of it")
@pytest.mark.parametrize("what", CHANGES)
def test_a_changed_study_is_another_study(what, custodian, study, make_study, ask):
    ask(custodian, study)
    custodian.approvals.approve(study.id, YES)
    assert isinstance(custodian.handle(DescribeRequest(study=study)), DescribeReply), "while it is warm"
    assert ask(custodian, make_study(**CHANGES[what])).rule == "not-approved"
    assert ask(custodian, study).steps == study.training.steps, "and the approved one goes on"


@pytest.mark.mutant(CHANGED, "approvals of a study's name")
def test_approvals_of_names_would_let_another_epsilon_through(custodian, study, make_study, ask, monkeypatch):
    ask(custodian, study)
    custodian.approvals.approve(study.id, YES)
    greedy = make_study(**CHANGES["ε"])
    ask(custodian, greedy)
    found = Studies.find
    monkeypatch.setattr(
        Studies,
        "find",
        lambda self, study_id: next(
            p for p in self.all() if p.study.name == found(self, study_id).study.name
        ),
    )
    assert isinstance(ask(custodian, greedy), TrainReply)
