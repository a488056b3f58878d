"""What a researcher may say of a run at a coordinator, and where it goes."""

import shutil

import pytest

from federation.config import CONF
from federation.errors import ConfigError
from server_app.deployed import Coordinator

OUTSIDE = "a researcher's run that reads or writes elsewhere than its own folder"


@pytest.fixture
def coordinator(tmp_path):
    return Coordinator(tmp_path)


def begun(folder):
    folder.mkdir(parents=True)
    (folder / "run.json").write_text('{"overrides": ["rounds=3"], "started": "2026-01-01T00:00:00Z"}')


def test_everything_of_a_run_lies_in_the_coordinators_folder(coordinator, tmp_path):
    run = coordinator.run(["rounds=3"], CONF, "flower-1")
    options = run.options
    assert run.study.rounds == 3
    assert options.run_dir == str(tmp_path / "runs/flower-1")
    assert options.models == str(tmp_path / "runs")
    assert options.heads == str(tmp_path / "audit-heads.jsonl")
    assert options.roster == str(tmp_path / "roster.json")


def test_a_study_of_the_researchers_own_conf_is_known(coordinator, tmp_path):
    conf = tmp_path / "bundle/conf"
    shutil.copytree(CONF, conf)
    text = (conf / "study/nodule_ct.yaml").read_text()
    (conf / "study/mine.yaml").write_text(text.replace("name: nodule_ct", "name: mine"))
    assert coordinator.run(["study=mine"], conf, "flower-1").study.name == "mine"


def test_what_a_study_of_the_researchers_own_lacks_is_named(coordinator, tmp_path):
    conf = tmp_path / "bundle/conf"
    shutil.copytree(CONF, conf)
    (conf / "study/mine.yaml").write_text("# @package _global_\nname: mine\n")
    with pytest.raises(ConfigError, match="rounds"):
        coordinator.run(["study=mine"], conf, "flower-1")


@pytest.mark.attack(OUTSIDE, held_by="the coordinator says where things lie")
@pytest.mark.parametrize(
    "override",
    [
        "run_dir=/etc",
        "+run_dir=/etc",
        "++heads=/etc/passwd",
        "roster=/tmp/mine.json",
        "models=/",
        "seed=1",
        "engine=flower",
        "tracker=mlflow",
    ],
)
def test_what_is_the_coordinators_to_say_is_refused(coordinator, override):
    with pytest.raises(ConfigError, match="is the coordinator's to say; leave it out"):
        coordinator.run([override], CONF, "flower-1")


@pytest.mark.attack(OUTSIDE, held_by="the coordinator says where things lie")
def test_and_where_the_researchers_conf_says_it_nobody_listens(coordinator, tmp_path):
    conf = tmp_path / "bundle/conf"
    shutil.copytree(CONF, conf)
    settings = (conf / "config.yaml").read_text()
    for old, new in (
        ("run_dir: null", "run_dir: /etc"),
        ("heads: null", "heads: /etc/x"),
        ("seed: null", "seed: 1"),
    ):
        assert old in settings
        settings = settings.replace(old, new)
    (conf / "config.yaml").write_text(settings)
    options = coordinator.run([], conf, "flower-1").options
    assert options.run_dir == str(tmp_path / "runs/flower-1")
    assert options.heads == str(tmp_path / "audit-heads.jsonl")
    assert options.seed is None


def test_a_run_goes_on_by_its_name(coordinator, tmp_path):
    begun(tmp_path / "runs/flower-1")
    run = coordinator.run(["resume=flower-1"], CONF, "flower-2")
    assert run.study.rounds == 3
    assert run.options.run_dir == run.options.resume == str(tmp_path / "runs/flower-1")


@pytest.mark.attack(OUTSIDE, held_by="the coordinator says where things lie")
@pytest.mark.parametrize("name", ["../flower-1", "/etc", "", ".", "..", "flower-2", "flower-1/"])
def test_a_run_elsewhere_does_not_go_on(coordinator, tmp_path, name):
    begun(tmp_path / "runs/flower-1")
    begun(tmp_path / "flower-1")
    with pytest.raises(ConfigError, match=r"is no run of this coordinator; the last are \['flower-1'\]"):
        coordinator.run([f"resume={name}"], CONF, "flower-3")


@pytest.mark.mutant(OUTSIDE, how="the place that the researcher says")
def test_composed_as_in_a_simulation_a_run_goes_where_it_is_told(tmp_path):
    from federation.config import compose_run  # noqa: PLC0415

    assert compose_run([f"run_dir={tmp_path}"]).options.run_dir == str(tmp_path)
