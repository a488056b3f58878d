"""Every process of a federation is killed once, while a study runs."""

import numpy as np
import psutil
import pytest

from client_app.desk.client import AdminClient
from federation.models import build_network, layout_of
from federation.study import Study
from server_app.averaging import average_of
from server_app.registry import Registry

pytestmark = pytest.mark.deployment


def test_each_process_of_a_hospital_and_the_coordinators_gateway_are_killed_in_turn(hospitals):
    run = hospitals.approved_run(rounds=6, secure_sum__lost_rounds=6)
    killed = ["alder-gateway", "birch-launcher", "cedar-custodian", "dogwood-supernode", "nginx"]
    for done, name in enumerate(killed, 1):
        hospitals.until_rounds(run, done)
        hospitals.killed_and_back(name)
    summary = hospitals.ended(run, 600)
    assert summary["status"] == "completed", summary["reason"]
    holds(hospitals, run, 6)


def test_what_carries_a_run_is_killed_and_another_run_goes_on_with_it(hospitals):
    run = hospitals.approved_run(rounds=5, secure_sum__lost_rounds=5)
    carrying = run
    for done, name in enumerate(("server app", "superlink", "coordinator"), 1):
        hospitals.until_rounds(run, done)
        if name == "server app":
            (child,) = psutil.Process(hospitals.programs.pid("coordinator")).children()
            child.kill()
        else:
            hospitals.killed_and_back(name)
        hospitals.ended_at_flower(carrying)
        carrying = hospitals.resume(hospitals.run_folder(run))
    hospitals.completed(run)
    holds(hospitals, run, 5)


def holds(hospitals, run, count):
    """What must hold after whatever happened."""
    folder = hospitals.run_folder(run)
    study = Study.model_validate_json((folder / "study.json").read_bytes())
    rounds = hospitals.rounds(run)
    assert [line["round"] for line in rounds] == list(range(1, count + 1))
    assert all(line["lost"] or len(line["participants"]) >= 3 for line in rounds)
    # The released model is that of the rounds on record.
    registry = Registry(folder, study, layout_of(build_network(study.model, study.task)))
    average = average_of(study)
    for line in rounds:
        average.add(line["round"], registry.read(line["round"]))
    np.testing.assert_array_equal(average.value, registry.read(None))
    for name in hospitals.sites:
        took_part = sum(name in line["participants"] for line in rounds)
        (state,) = (
            state
            for state in AdminClient(hospitals.site(name) / "admin/admin.sock").studies()
            if state.proposal.study.id == study.id
        )
        assert took_part <= state.rounds <= count
        hospitals.at_site(name, "ledger", "verify")
        hospitals.at_site(name, "audit", "verify")
