import pytest

from client_app.custodian.in_process import SimulatedHospitals, simulated_custodian
from client_app.custodian.keys import SiteKeys
from federation.messages import DescribeReply, DescribeRequest


@pytest.fixture
def overrides(tmp_path):
    return (
        "task.package=toy_task",
        "site.policy.tasks=[toy_task]",
        "task.image_size=[12,12]",
        "+task.options.patients=24",
        "pretraining.source=random",
        "model.arguments.channels=[8]",
        "model.arguments.strides=[2]",
        f"run_dir={tmp_path}",
    )


def test_every_position_is_a_hospital_of_the_federation(overrides):
    study = SimulatedHospitals(overrides, 1)._run.study
    hospitals = [simulated_custodian(overrides, 1, position) for position in range(4)]
    replies = [hospital.handle(DescribeRequest(study=study)) for hospital in hospitals]
    assert all(isinstance(reply, DescribeReply) for reply in replies)
    assert [reply.site for reply in replies] == ["alder", "birch", "cedar", "dogwood"]
    assert [reply.description[:11] for reply in replies] == [f"part {part} of 4" for part in range(4)]


def test_a_custodian_stays_warm_between_messages(overrides):
    assert simulated_custodian(overrides, 1, 2) is simulated_custodian(overrides, 1, 2)


def test_another_run_has_other_custodians(overrides):
    assert simulated_custodian(overrides, 1, 2) is not simulated_custodian(overrides, 2, 2)


def test_without_a_seed_each_hospital_draws_a_secret_of_its_own(overrides, tmp_path):
    secrets = {simulated_custodian(overrides, 1, position)._keys.noise for position in range(4)}
    assert len(secrets) == 4
    assert (tmp_path / "sites" / "alder" / "keys" / "noise").read_bytes() in secrets


def test_with_a_seed_secrets_repeat_and_nothing_is_kept(overrides, tmp_path):
    seeded = (*overrides, "seed=7")
    secrets = [simulated_custodian(seeded, 1, position)._keys.noise for position in range(2)]
    assert secrets == [SiteKeys.seeded(7, "alder").noise, SiteKeys.seeded(7, "birch").noise]
    assert secrets[0] != secrets[1] != SiteKeys.seeded(8, "birch").noise
    assert not (tmp_path / "sites" / "alder" / "keys" / "noise").exists()
