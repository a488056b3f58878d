import math
from dataclasses import replace

import numpy as np
import pytest

from federation.config import compose_run
from federation.messages import BINS, RefusalReply
from federation.promise import evaluation_noise
from server_app.evaluation import Told, curve, evaluate, held_out
from server_app.membership import Member, Membership
from tests.server_app.conftest import NOISE, SITES, Hospital

HOSPITALS = tuple(Hospital(site) for site in SITES)


@pytest.fixture(scope="module")
def study():
    return compose_run([*NOISE, "evaluation.epsilon=8"]).study


@pytest.fixture
def told(on_grid, study, book):
    """What comes of asking these hospitals."""

    def ask(*hospitals, deadline=20.0):
        def do(grid):
            nodes = sorted(grid.get_node_ids())
            members = {
                hospital.site: Member(node, 100, "") for node, hospital in zip(nodes, hospitals, strict=True)
            }
            model = np.zeros(3, dtype=np.float32)
            return evaluate(grid, study, Membership(members, {}), model, deadline, book=book)

        return on_grid(do, *hospitals)

    return ask


def told_by(healthy, diseased, sites=SITES):
    """What these hospitals told together."""
    return Told(tuple(sites), (), np.array([healthy, diseased], dtype=np.float64))


class TestEvaluate:
    def test_the_counts_of_all_hospitals_are_added_up(self, told):
        found = told(*HOSPITALS)
        assert found.hospitals == SITES
        assert found.absent == ()
        assert (found.healthy[0], found.healthy[-1], found.diseased[-1]) == (360, 40, 360)
        assert found.auc == pytest.approx(0.9)

    def test_a_hospital_that_refuses_is_named_with_its_reason(self, told):
        def refuses(answer):
            return RefusalReply(
                site="cedar", kind="refused", rule="held-out-too-few", reason="too few", reference="0" * 12
            )

        found = told(*HOSPITALS[:2], replace(HOSPITALS[2], evaluate=refuses), HOSPITALS[3])
        assert found.hospitals == ("alder", "birch", "dogwood")
        (absence,) = found.absent
        assert (absence.site, "held-out-too-few" in absence.reason) == ("cedar", True)
        assert found.healthy[0] == 270

    @pytest.mark.parametrize(
        "lie",
        [
            lambda answer: answer.model_copy(update={"site": "birch"}),
            lambda answer: answer.model_copy(update={"healthy": (1.0,)}),
            lambda answer: answer.model_copy(update={"healthy": (math.nan,) * BINS}),
            lambda answer: answer.model_copy(update={"healthy": (1e12,) * BINS}),
        ],
        ids=["another's name", "too few numbers", "not a number", "out of range"],
    )
    def test_a_reply_that_is_none_is_left_out(self, lie, told):
        found = told(*HOSPITALS[:3], replace(HOSPITALS[3], evaluate=lie))
        assert found.hospitals == ("alder", "birch", "cedar")
        assert found.absent[0].reason.startswith("invalid reply")

    def test_fewer_than_the_quorum_give_no_figure(self, told, study):
        def lies(answer):
            return answer.model_copy(update={"site": "x"})

        few = study.quorum - 1
        found = told(*HOSPITALS[:few], *(replace(each, evaluate=lies) for each in HOSPITALS[few:]))
        assert len(found.hospitals) == few
        assert (found.healthy, found.auc) == ((), None)


class TestFigures:
    def test_the_area_is_that_of_the_binned_scores_where_equal_ones_count_half(self, study):
        draw = np.random.default_rng(3)
        healthy, diseased = draw.integers(20, 60, (2, BINS)).astype(float)
        wins = sum(
            diseased[high] * healthy[low] * (1 if high > low else 0.5)
            for high in range(BINS)
            for low in range(high + 1)
        )
        found = held_out(study, told_by(healthy, diseased))
        assert found.auc == pytest.approx(wins / (healthy.sum() * diseased.sum()))

    def test_the_noise_of_several_hospitals_adds_up_in_variance(self, study):
        found = held_out(study, told_by([50] * BINS, [50] * BINS))
        assert found.noise == pytest.approx(2 * evaluation_noise(study))

    def test_the_interval_holds_the_truth_about_as_often_as_it_says(self, study):
        """200 noised, drawn cohorts of one population; within three deviations of 95 %."""
        draw = np.random.default_rng(0)
        healthy = np.array([300, 200, 90, 60, 40, 30, 20, 20, 20, 20.0])
        diseased = healthy[::-1]
        false_alarms, found = curve(np.stack([healthy, diseased]))
        truth, noise, held = np.trapezoid(found, false_alarms), evaluation_noise(study), 0
        for _ in range(200):
            counts = draw.poisson([healthy, diseased]) + draw.normal(0, 2 * noise, (2, BINS))
            low, high = held_out(study, told_by(*counts)).auc_interval
            held += low <= truth <= high
        assert held / 200 > 0.95 - 3 * math.sqrt(0.95 * 0.05 / 200)

    def test_counts_below_zero_are_none(self):
        false_alarms, found = curve(np.array([[5.0, -3.0, *[0.0] * 8], [-1.0, 0.0, *[0.0] * 7, 5.0]]))
        assert false_alarms.min() == found.min() == 0
        assert np.trapezoid(found, false_alarms) == 1

    def test_what_noise_could_have_made_gives_no_figure(self, study):
        found = held_out(study, told_by([0.1] * BINS, [50] * BINS))
        assert found.healthy
        assert (found.auc, found.auc_interval) == (None, None)
