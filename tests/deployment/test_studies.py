"""Studies over four hospitals and a coordinator as real processes, through both gateways."""

import pytest

from client_app.books.audit import read_log
from client_app.desk.client import AdminClient
from client_app.socket_client import SocketClient
from federation.messages import DescribeReply, DescribeRequest, RefusalReply, TrainReply, TrainRequest
from federation.models import build_network, layout_of
from federation.study import Study
from server_app.registry import Registry

pytestmark = pytest.mark.deployment


def test_a_study_with_secure_sums_runs_to_its_end(hospitals):
    run = hospitals.approved_run()
    summary = hospitals.ended(run)
    assert summary["status"] == "completed", summary["reason"]
    assert [line["participants"] for line in hospitals.rounds(run)] == [list(hospitals.sites)] * 2
    assert summary["privacy"]["aggregation"] == "secure"


def test_a_study_that_costs_too_much_is_refused_by_rule(hospitals):
    summary = hospitals.ended(hospitals.run(privacy__epsilon=50))
    assert summary["status"] == "failed"
    for name in hospitals.sites:
        assert f"{name}: refused by epsilon-too-large" in summary["reason"]


@pytest.fixture(scope="module")
def done(hospitals):
    """A study of two rounds that has ended, and its models."""
    run = hospitals.approved_run(rounds=2, aggregation="plain", evaluation="null")
    hospitals.ended(run)
    folder = hospitals.run_folder(run)
    study = Study.model_validate_json((folder / "study.json").read_bytes())
    return study, Registry(folder, study, layout_of(build_network(study.model, study.task)))


@pytest.fixture
def asked(hospitals):
    """``asked(request)``: what alder's custodian answers whoever has its SuperNode in hand."""
    return SocketClient(hospitals.site("alder") / "relay/relay.sock", 60).handle


def rounds_charged(hospitals, study):
    states = AdminClient(hospitals.site("alder") / "admin/admin.sock").studies()
    (state,) = (state for state in states if state.proposal.study.id == study.id)
    return state.rounds


OF_OTHERS = "a SuperLink that asks a hospital for a study of others"


@pytest.mark.attack(OF_OTHERS, held_by="who takes part is in the study")
def test_a_study_of_others_is_refused(done, asked):
    study, _ = done
    others = study.model_copy(update={"participants": ("birch", "cedar", "dogwood")})
    answer = asked(DescribeRequest(study=others))
    assert isinstance(answer, RefusalReply)
    assert answer.rule == "not-a-participant"


@pytest.mark.mutant(OF_OTHERS, how="asks for one that names the hospital")
def test_a_study_of_its_own_is_answered(done, asked):
    study, _ = done
    assert isinstance(asked(DescribeRequest(study=study)), DescribeReply)


YESTERDAY = "a SuperLink that asks for yesterday's round again, with another model"


@pytest.mark.attack(YESTERDAY, held_by="a round is charged once, on disk, for one model")
@pytest.mark.parametrize("number", [1, 2])
def test_a_round_of_yesterday_costs_nothing_and_tells_nothing_new(hospitals, done, asked, number):
    study, models = done
    # Equal noise under two models would cancel.
    answer = asked(TrainRequest(study=study, round=number, parameters=models.read(2)))
    assert isinstance(answer, RefusalReply)
    assert rounds_charged(hospitals, study) == 2
    *_, last = read_log(hospitals.site("alder") / "custodian/audit")
    assert last.entry.event == "refused"


@pytest.mark.mutant(YESTERDAY, how="asks with the same model, and gets the same answer")
def test_the_same_question_has_the_same_answer(hospitals, done, asked):
    study, models = done
    question = TrainRequest(study=study, round=2, parameters=models.read(1))
    answers = [asked(question) for _ in range(2)]
    assert all(isinstance(answer, TrainReply) for answer in answers)
    assert answers[0].parameters.tobytes() == answers[1].parameters.tobytes()
    assert rounds_charged(hospitals, study) == 2
