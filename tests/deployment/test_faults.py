"""Every process of a federation is killed once, while a study runs."""

import psutil
import pytest

from benchmarks.invariants import broken

pytestmark = pytest.mark.deployment


def test_each_process_of_a_hospital_and_the_coordinators_gateway_are_killed_in_turn(hospitals):
    run = hospitals.approved_run(rounds=6, secure_sum__lost_rounds=6)
    killed = ["alder-gateway", "birch-launcher", "cedar-custodian", "dogwood-supernode", "nginx"]
    for done, name in enumerate(killed, 1):
        hospitals.until_rounds(run, done)
        hospitals.killed_and_back(name)
    summary = hospitals.ended(run, 600)
    assert summary["status"] == "completed", summary["reason"]
    assert broken(hospitals, run) == []


def test_what_carries_a_run_is_killed_and_another_run_goes_on_with_it(hospitals):
    run = hospitals.approved_run(rounds=8, secure_sum__lost_rounds=8)
    hospitals.until_rounds(run, 1)
    (child,) = psutil.Process(hospitals.programs.pid("coordinator")).children()
    child.kill()
    hospitals.ended_at_flower(run)
    carrying = hospitals.resume(hospitals.run_folder(run))
    hospitals.until_rounds(run, 2)
    hospitals.killed_and_back("superlink")
    hospitals.until_rounds(run, 4)  # nobody has to do anything
    hospitals.killed_and_back("coordinator")
    hospitals.ended_at_flower(carrying)
    hospitals.resume(hospitals.run_folder(run))
    hospitals.completed(run)
    assert len(hospitals.summary(run)["resumed"]) == 2
    assert broken(hospitals, run) == []
