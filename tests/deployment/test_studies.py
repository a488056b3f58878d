"""Studies over four hospitals and a coordinator as real processes, through both gateways."""

import json

import pytest

from client_app.desk.client import AdminClient
from client_app.socket_client import SocketClient
from federation.messages import DescribeReply, DescribeRequest, RefusalReply, TrainRequest
from federation.models import build_network, layout_of
from federation.study import Study
from server_app.registry import Registry

pytestmark = pytest.mark.deployment


def study_of(hospitals, run):
    return Study.model_validate_json((hospitals.run_folder(run) / "study.json").read_bytes())


def relay(hospitals, name):
    """A hospital's custodian, as whoever has its SuperNode in hand reaches it."""
    return SocketClient(hospitals.site(name) / "relay/relay.sock", 60)


def rounds_charged(hospitals, name, study):
    states = AdminClient(hospitals.site(name) / "admin/admin.sock").studies()
    (state,) = (state for state in states if state.proposal.study.id == study.id)
    return state.rounds


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
        assert f"{name}: refused by maximum-epsilon" in summary["reason"]


OF_OTHERS = "a SuperLink that asks a hospital for a study of others"


@pytest.mark.attack(OF_OTHERS, held_by="who takes part is in the study")
def test_a_study_of_others_is_refused(hospitals):
    run = hospitals.approved_run(rounds=1, aggregation="plain", evaluation="null")
    hospitals.ended(run)
    ours = study_of(hospitals, run)
    others = ours.model_copy(update={"participants": ("birch", "cedar", "dogwood")})
    answer = relay(hospitals, "alder").handle(DescribeRequest(study=others))
    assert isinstance(answer, RefusalReply)
    assert answer.rule == "not-a-participant"


@pytest.mark.mutant(OF_OTHERS, how="a study that names the hospital")
def test_a_study_of_its_own_is_answered(hospitals):
    study = AdminClient(hospitals.site("alder") / "admin/admin.sock").studies()[-1].proposal.study
    assert isinstance(relay(hospitals, "alder").handle(DescribeRequest(study=study)), DescribeReply)


@pytest.mark.attack(
    "a SuperLink that asks for yesterday's round again", held_by="a round is charged once, on disk"
)
def test_a_round_of_yesterday_costs_nothing_and_tells_nothing_new(hospitals):
    run = hospitals.approved_run(rounds=2, aggregation="plain", evaluation="null")
    hospitals.ended(run)
    study = study_of(hospitals, run)
    registry = Registry(hospitals.run_folder(run), study, layout_of(build_network(study.model, study.task)))
    before = rounds_charged(hospitals, "alder", study)
    # The first round's question with the second round's model: equal noise under two models would cancel.
    again = TrainRequest(study=study, round=1, parameters=registry.read(2))
    answer = relay(hospitals, "alder").handle(again)
    assert isinstance(answer, RefusalReply)
    assert rounds_charged(hospitals, "alder", study) == before == 2
    log = (hospitals.site("alder") / "custodian/audit.jsonl").read_text()
    assert json.loads(log.splitlines()[-1])["event"] == "refused"
