"""The attack finds who was memorised, and finds nobody where patients were protected."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from client_app.audit.membership import attack_membership, clopper_pearson, judge_attack
from client_app.training.batches import Patients
from client_app.training.local_round import LocalTraining
from federation.models import build_network, get_parameters
from federation.study import ModelSpec
from federation.tasks import Examples

PATIENTS, SIZE = 300, 64


def patients_of_chance(seed):
    """Images without anything to learn: whoever knows their classes has learnt them by heart."""
    random = np.random.default_rng(seed)
    of_patient = np.repeat(np.arange(PATIENTS), random.integers(1, 3, size=PATIENTS))
    images = random.normal(size=(len(of_patient), 1, SIZE, SIZE)).astype(np.float32)
    return Examples(images, random.integers(0, 2, size=len(of_patient)), of_patient, covariates={})


# More weights than images to remember: a regression that can learn everybody by heart.
WIDE = ModelSpec(name="wide", network="monai.FullyConnectedNet", arguments={"hidden_channels": ()})
MEMBERS, OTHERS = patients_of_chance(1), patients_of_chance(2)


@pytest.fixture(scope="module")
def attacks_on(make_study):
    """``attacks_on(privacy)``: both attacks on a model trained with that promise."""

    def attack(**privacy):
        study = make_study(
            task={"image_size": [SIZE, SIZE]},
            privacy=privacy,
            training={"steps": 30, "optimizer": "adam", "learning_rate": 1e-3},
            rounds=1,
        ).model_copy(update={"model": WIDE})
        start = get_parameters(build_network(study.model, study.task))
        network = build_network(study.model, study.task)
        training = LocalTraining(study, network, Patients(MEMBERS), PATIENTS, bytes(range(32)))
        released = start + training.run(1, start, None).update
        return attack_membership(study, released, start, MEMBERS, OTHERS)

    return attack


@pytest.mark.parametrize("name", ["calibrated", "plain"])
def test_finds_members_of_a_model_that_knows_them_by_heart(name, attacks_on, no_privacy):
    found = attacks_on(**no_privacy)[name]
    assert found.auc_interval[0] > 0.8
    assert found.found_interval[0] > 0.1, "ten times what chance would find"


@pytest.mark.parametrize("name", ["calibrated", "plain"])
def test_finds_nobody_where_each_patient_was_promised_privacy(name, attacks_on):
    found = attacks_on(mode="local", epsilon=1.0)[name]
    assert found.auc_interval[0] < 0.5 + 0.02
    assert found.found_interval[0] <= math.e * 0.01, "what ε = 1 allows"


def test_calibration_sees_what_difficulty_hides():
    """A member that gained a little is hidden by how much easier some images are than others."""
    random = np.random.default_rng(0)
    ease = 10 * random.normal(size=400)
    members, others = ease[:200] + 2 + random.normal(size=200), ease[200:] + random.normal(size=200)
    assert judge_attack(members - ease[:200], others - ease[200:]).auc > 0.85
    assert judge_attack(members, others).auc < 0.65


class TestJudge:
    def test_by_hand(self):
        judged = judge_attack(np.array([3.0, 5.0, 1.0]), np.array([2.0, 0.0, 1.0]))
        assert judged.auc == pytest.approx((3 + 3 + 1.5) / 9)
        assert judged.found == pytest.approx(2 / 3), "above the highest other, since 1 % of three is nobody"
        assert (judged.roc[0][0], judged.roc[1][0]) == (0.0, 0.0)
        assert (judged.roc[0][-1], judged.roc[1][-1]) == (1.0, 1.0)

    def test_one_in_a_hundred_of_the_others_may_be_taken_for_a_member(self):
        others = np.arange(300.0)
        judged = judge_attack(np.array([295.5, 296.5, 297.5, 10.0]), others)
        assert judged.found == pytest.approx(0.5), "above 296, where three of 300 are"

    def test_scores_that_are_all_alike_find_nobody(self):
        judged = judge_attack(np.zeros(50), np.zeros(70))
        assert (judged.auc, judged.found) == (0.5, 0.0)

    def test_its_intervals_hold_the_truth_about_as_often_as_they_say(self):
        random = np.random.default_rng(5)
        inside = 0
        for _ in range(20):
            low, high = judge_attack(random.normal(size=60) + 1, random.normal(size=60)).auc_interval
            inside += low <= 0.7602 <= high  # Φ(1/√2)
        assert inside >= 16


@pytest.mark.parametrize(("successes", "trials"), [(0, 20), (1, 20), (7, 20), (20, 20)])
def test_clopper_pearson_is_where_either_tail_is_a_fortieth(successes, trials):
    low, high = clopper_pearson(successes, trials)
    if successes:
        assert binom.sf(successes - 1, trials, low) == pytest.approx(0.025)
    if successes < trials:
        assert binom.cdf(successes, trials, high) == pytest.approx(0.025)
    assert 0 <= low <= successes / trials <= high <= 1
