import numpy as np
import pytest

from federation.config import compose_run
from federation.errors import RunError
from federation.models import build_network, get_parameters
from simulation.engine import load_cohorts
from simulation.observer import Judge, Keeper


@pytest.fixture(scope="module")
def run(noise):
    return compose_run(noise)


@pytest.fixture(scope="module")
def judge(run):
    return Judge(run.study, load_cohorts(run))


def test_every_hospital_has_the_part_of_its_place(judge):
    assert {name: cohort.description for name, cohort in judge.cohorts.items()} == {
        "alder": "noise 0",
        "birch": "noise 1",
        "cedar": "noise 2",
        "dogwood": "noise 3",
    }


def test_a_model_is_measured_on_each_hospital_and_on_all_test_patients_together(judge, run):
    pooled, sites = judge.judge(get_parameters(build_network(run.study.model, run.study.task)))
    assert list(sites) == list(judge.cohorts)
    assert pooled.patients == sum(site.patients for site in sites.values()) == 120
    assert pooled.images == sum(site.images for site in sites.values())
    assert pooled.stratum is not None


def test_judging_one_model_leaves_nothing_behind_for_the_next(judge, run):
    model = get_parameters(build_network(run.study.model, run.study.task))
    first = judge.judge(model)
    judge.judge(np.zeros_like(model))
    assert judge.judge(model) == first


def test_a_task_without_a_trivial_classifier_has_no_baseline(judge, run):
    task = run.study.task.model_copy(update={"baseline": None})
    assert Judge(run.study.model_copy(update={"task": task}), judge.cohorts).baselines() == {}
    (baseline,) = judge.baselines().values()
    assert baseline.auc > 0.6
    assert baseline.sensitivity is None


def test_a_run_that_has_not_ended_has_no_summary_and_no_model():
    keeper = Keeper()
    with pytest.raises(RunError, match="has not ended"):
        _ = keeper.summary
    with pytest.raises(RunError, match="released no model"):
        _ = keeper.released
