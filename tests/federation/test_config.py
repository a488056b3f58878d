import pytest

from federation.config import CONF, compose_run, run_folder
from federation.errors import ConfigError
from federation.models import build_network
from federation.study import EvaluationSpec
from server_app.strategy import make_strategy


def every(group):
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


def choices():
    """Every choice of every group, each with what it needs beside the defaults."""
    needs = {"federation=alone": ["quorum=1"], "task=heart_disease": ["model=logistic"]}
    groups = {folder.name for folder in CONF.iterdir() if folder.is_dir()}
    for group in sorted(groups - {"cohort"}):  # of a hospital's record, and no part of a run
        for name in every(group):
            yield [f"{group}={name}", *needs.get(f"{group}={name}", [])]


@pytest.mark.parametrize("overrides", list(choices()), ids=lambda overrides: overrides[0])
def test_every_choice_composes_validates_and_builds(overrides):
    run = compose_run(overrides)
    assert build_network(run.study.model, run.study.task)
    assert make_strategy(run.study.strategy)
    assert run.study.participants == tuple(run.federation.sites)
    group, name = overrides[0].split("=")
    if group in ("task", "model", "strategy"):
        assert getattr(run.study, group).name == name, "a choice is called as its file is"


def test_the_default_is_a_private_study_of_four_hospitals():
    run = compose_run()
    assert run.study.privacy.mode == "local"
    assert run.study.participants == ("alder", "birch", "cedar", "dogwood")
    assert run.study.total_steps == run.study.rounds * run.study.training.steps


def test_an_override_changes_what_it_names_and_nothing_else():
    before, after = compose_run(), compose_run(["privacy.epsilon=3", "rounds=5"])
    assert (after.study.privacy.epsilon, after.study.rounds) == (3.0, 5)
    privacy = before.study.privacy.model_copy(update={"epsilon": 3.0})
    evaluation = EvaluationSpec(epsilon=3.0)  # which follows, unless it is named, too
    changes = {"privacy": privacy, "rounds": 5, "evaluation": evaluation}
    assert after.study == before.study.model_copy(update=changes)
    assert (after.federation, after.options, after.site) == (before.federation, before.options, before.site)


def test_how_a_study_is_run_is_no_part_of_it(tmp_path):
    quiet = compose_run(["progress=quiet", "seed=3", "compare=false", f"run_dir={tmp_path}"])
    assert quiet.study.id == compose_run().study.id
    assert run_folder(quiet, "other") == tmp_path
    assert run_folder(compose_run(), "other").parts[-2:] == ("runs", "other")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["studdy=nodule_ct"], "studdy is not a setting; did you mean 'study'?"),
        (["privcy.epsilon=3"], "privcy.epsilon is not a setting; did you mean 'privacy.epsilon'?"),
        (["privacy.epsilom=3"], "privacy.epsilom is not a setting; did you mean 'privacy.epsilon'?"),
        (["training.learning_rat=1"], "did you mean 'training.learning_rate'?"),
        (["+privacy.epsilom=1"], "privacy.epsilom is not a setting; did you mean 'epsilon'?"),
        (["++rouns=1"], "rouns is not a setting; did you mean 'rounds'?"),
        (["+rouns=1"], "rouns is not a setting; valid names: "),
        (["model=resnt18"], "model='resnt18' does not exist in conf/model; did you mean 'resnet18'?"),
        (["study=nodules"], "study='nodules' does not exist in conf/study; did you mean 'nodule_ct'?"),
        (["strategy=zzz"], "strategy='zzz' does not exist in conf/strategy; valid names: fedadam, "),
        (["+federation.patiense=3"], "federation.patiense is not a setting; did you mean 'patience'?"),
        (["~model"], "model='None' does not exist"),
        (["hydra.run.dir=x"], "hydra.run.dir is not a setting"),
        (
            ["aggregation=plain", "secure_sum.dropouts=1"],
            "secure_sum.dropouts is not a setting, since secure_sum is null here; choose aggregation=secure",
        ),
    ],
)
def test_what_does_not_exist_is_named_with_the_nearest_that_does(overrides, said):
    with pytest.raises(ConfigError) as error:
        compose_run(overrides)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("privacy.epsilon=0", "privacy.epsilon=0"),
        ("privacy.epsilon=-1", "privacy.epsilon=-1"),
        ("privacy.epsilon=nan", "privacy.epsilon=nan"),
        ("privacy.epsilon=inf", "privacy.epsilon=inf"),
        ("privacy.epsilon=null", "privacy.mode=local needs epsilon"),
        ("~privacy.epsilon", "'privacy.epsilon' not found"),
        ("privacy.delta=0", "privacy.delta=0"),
        ("privacy.delta=1", "privacy.delta=1"),
        ("privacy.clipping_norm=0", "privacy.clipping_norm=0"),
        ("privacy.sampling_rate=0", "privacy.sampling_rate=0"),
        ("privacy.sampling_rate=1.01", "privacy.sampling_rate=1.01"),
        ("privacy.mode=none", "privacy.mode=none promises nothing"),
        ("privacy.mode=central", "privacy.mode='central'"),
        ("quorum=5", "quorum=5 can never be met by 4 participants; lower it"),
        ("quorum=0", "quorum=0"),
        ("rounds=0", "rounds=0"),
        ("rounds=1.5", "rounds=1.5"),
        ("training.steps=0", "training.steps=0"),
        ("training.momentum=1", "training.momentum=1"),
        ("training.class_weights=[1]", "training.class_weights=[1.0] must have one weight for each"),
        ("training.class_weights=[1,-1]", "training.class_weights.1=-1"),
        ("tail=0", "tail=0"),
        ("model.seed=-1", "model.seed=-1"),
        ("model.seed=4294967296", "model.seed=4294967296"),
        ("pretraining.seed=-1", "pretraining.seed=-1"),
        ("task.package=../evil", "task.package='../evil'"),
        ("expires=never", "expires='never'"),
        ("engine=ray", "engine='ray'"),
        ("federation.deadline=0", "federation.deadline=0"),
        ("privacy.epsilon=1,2", "privacy.epsilon=1,2"),
        ("privacy.epsilon", "settings are KEY=VALUE"),
        ("+strategy.proximal=1", "strategy fedavg takes no settings, not ['proximal']"),
        ("+model.arguments.x=nan", "model.arguments.x"),
        ("+federation.sites.Birch={}", "federation.sites.Birch"),
    ],
)
def test_a_value_that_cannot_be_is_named(override, said):
    with pytest.raises(ConfigError) as error:
        compose_run([override])
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("strategy", "setting"),
    [
        ("fedavg", "learning_rate"),
        ("fedavgm", "adaptivity"),
        ("fedprox", "momentum"),
        ("fedadam", "proximal"),
    ],
)
def test_a_strategy_with_settings_of_another_is_refused(strategy, setting):
    with pytest.raises(ConfigError, match=f"strategy {strategy} takes"):
        compose_run([f"strategy={strategy}", f"+strategy.{setting}=0.5"])


@pytest.mark.parametrize("strategy", [name for name in every("strategy") if name != "fedavg"])
def test_a_strategy_without_its_settings_is_refused(strategy):
    with pytest.raises(ConfigError, match=f"strategy {strategy} takes"):
        compose_run([f"strategy.name={strategy}"])
