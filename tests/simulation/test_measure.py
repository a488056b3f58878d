import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu
from torch import nn
from torchmetrics.functional.classification import binary_auroc, binary_calibration_error

from client_app.training.evaluation import predict
from federation.study import StratumSpec
from federation.tasks import Examples
from simulation.measure import auc_with_interval, measure, weighted_auc


def examples_of(targets, patients=None, **covariates):
    targets = np.asarray(targets, dtype=np.int64)
    return Examples(
        images=np.zeros((len(targets), 1, 2, 2), np.float32),
        targets=targets,
        patients=np.arange(len(targets)) if patients is None else np.asarray(patients),
        covariates={name: np.asarray(values, dtype=np.float64) for name, values in covariates.items()},
    )


def some_scores(images, seed=0, decimals=1):
    """Scores with many ties, better than chance."""
    draw = np.random.default_rng(seed)
    targets = draw.integers(0, 2, images)
    return np.round(draw.uniform(0, 1, images) * 0.8 + 0.2 * targets, decimals), targets


def area(scores, targets):
    return weighted_auc(scores, targets, np.ones((1, len(scores))))[0]


@pytest.mark.parametrize("decimals", [0, 1, 2, 9])
def test_the_area_is_that_of_torchmetrics_and_of_the_rank_sum_with_ties_or_without(decimals):
    for seed in range(5):
        scores, targets = some_scores(80, seed, decimals)
        positives, negatives = scores[targets == 1], scores[targets == 0]
        by_ranks = mannwhitneyu(positives, negatives).statistic / (len(positives) * len(negatives))
        by_curve = float(binary_auroc(torch.from_numpy(scores), torch.from_numpy(targets)))
        assert area(scores, targets) == pytest.approx(by_ranks, abs=1e-12)
        assert area(scores, targets) == pytest.approx(by_curve, abs=1e-6)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [([0, 1, 2, 3], 1.0), ([3, 2, 1, 0], 0.0), ([5, 5, 5, 5], 0.5), ([0, 2, 1, 3], 0.75)],
)
def test_areas_that_one_can_count_by_hand(scores, expected):
    assert area(np.array(scores, dtype=float), np.array([0, 0, 1, 1])) == expected


@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.tuples(st.integers(-3, 3), st.integers(0, 1), st.lists(st.integers(0, 4), min_size=3, max_size=3)),
        min_size=2,
        max_size=14,
    )
)
def test_a_weighted_area_is_the_share_of_weighted_pairs_in_the_right_order(images):
    scores, targets, weights = (np.array(column) for column in zip(*images, strict=True))
    areas = weighted_auc(scores.astype(float), targets, weights.T.astype(float))
    for row, found in zip(weights.T, areas, strict=True):
        pairs = [
            (row[i] * row[j], 1.0 if scores[i] > scores[j] else 0.5 if scores[i] == scores[j] else 0.0)
            for i in np.flatnonzero(targets == 1)
            for j in np.flatnonzero(targets == 0)
        ]
        total = sum(weight for weight, _ in pairs)
        if total:
            assert found == pytest.approx(sum(weight * right for weight, right in pairs) / total)
        else:
            assert np.isnan(found)


def test_the_interval_is_over_patients_and_not_over_their_images():
    """Ten images of each patient tell no more than one; the mutant that draws images is far too sure."""
    scores, targets = some_scores(40, decimals=9)
    people = np.arange(40)
    found, (low, high) = auc_with_interval(scores, targets, people)
    ten_scores, ten_targets, ten_people = (np.repeat(values, 10) for values in (scores, targets, people))
    again, interval = auc_with_interval(ten_scores, ten_targets, ten_people)
    assert again == pytest.approx(found)
    assert interval == pytest.approx((low, high))
    _, (mutant_low, mutant_high) = auc_with_interval(ten_scores, ten_targets, np.arange(400))
    assert mutant_high - mutant_low < 0.5 * (high - low)


def test_the_interval_is_about_as_wide_as_theory_says():
    """Hanley & McNeil 1982: for 100 against 100 at .76 the standard error is .0335."""
    draw = np.random.default_rng(1)
    targets = np.repeat([0, 1], 100)
    found, (low, high) = auc_with_interval(draw.normal(targets, 1.0), targets, np.arange(200))
    assert low < found < high
    assert (high - low) / (2 * 1.96) == pytest.approx(0.0335, rel=0.25)


def test_the_interval_repeats():
    scores, targets = some_scores(40)
    assert auc_with_interval(scores, targets, np.arange(40)) == auc_with_interval(
        scores, targets, np.arange(40)
    )


@pytest.mark.parametrize("target", [0, 1])
def test_with_one_class_there_is_no_area_and_nothing_that_hangs_on_it(target):
    measurement = measure(np.array([0.1, 0.9, 0.5]), examples_of([target] * 3))
    assert measurement.model_dump() == {
        "patients": 3,
        "images": 3,
        "positives": 3 * target,
        "auc": None,
        "auc_interval": None,
        "sensitivity": None,
        "specificity": None,
        "calibration_error": None,
        "roc": None,
        "stratum": None,
    }


def test_nobody_at_all_is_measured_as_nobody():
    measurement = measure(np.zeros(0), examples_of([]))
    assert (measurement.patients, measurement.images, measurement.auc) == (0, 0, None)


def test_two_patients_are_enough_for_an_area_and_their_interval_is_no_number_by_accident():
    found, interval = auc_with_interval(np.array([0.2, 0.8]), np.array([0, 1]), np.array([0, 1]))
    assert (found, interval) == (1.0, (1.0, 1.0))


def test_patients_are_counted_once_however_many_images_they_have():
    measurement = measure(np.array([0.1, 0.2, 0.9, 0.8]), examples_of([0, 0, 1, 1], patients=[0, 0, 0, 1]))
    assert (measurement.patients, measurement.images, measurement.positives) == (2, 4, 2)


def test_sensitivity_and_specificity_are_at_one_half():
    scores = np.array([0.1, 0.2, 0.4, 0.9, 0.45, 0.6, 0.7, 0.8, 0.9])
    measurement = measure(scores, examples_of([0, 0, 0, 0, 1, 1, 1, 1, 1]))
    assert measurement.sensitivity == pytest.approx(4 / 5)
    assert measurement.specificity == pytest.approx(3 / 4)


def test_calibration_is_the_expected_error_in_ten_bins():
    well, targets = np.full(100, 0.2), np.arange(100) % 5 == 0
    assert measure(well, examples_of(targets)).calibration_error == pytest.approx(0, abs=1e-6)
    assert measure(well + 0.6, examples_of(targets)).calibration_error == pytest.approx(0.6, abs=1e-6)
    scores, targets = some_scores(200, decimals=9)
    expected = binary_calibration_error(torch.from_numpy(scores), torch.from_numpy(targets), n_bins=10)
    assert measure(scores, examples_of(targets)).calibration_error == pytest.approx(float(expected))


def test_scores_that_are_no_probabilities_have_an_area_and_no_threshold():
    measurement = measure(np.array([10.0, 50, 200]), examples_of([0, 0, 1]), as_probability=False)
    assert measurement.auc == 1
    assert measurement.sensitivity is measurement.specificity is measurement.calibration_error is None
    assert measurement.roc is None


def test_the_curve_goes_from_nobody_to_everybody_in_at_most_a_hundred_points():
    scores, targets = some_scores(1000, decimals=9)
    false_positive, true_positive = measure(scores, examples_of(targets)).roc
    assert (false_positive[0], true_positive[0]) == (0, 0)
    assert (false_positive[-1], true_positive[-1]) == (1, 1)
    assert 50 < len(false_positive) <= 100
    assert (np.diff(false_positive) >= 0).all()
    assert np.trapezoid(true_positive, false_positive) == pytest.approx(area(scores, targets), abs=0.01)


def test_a_stratum_is_above_its_low_and_up_to_its_high():
    spec = StratumSpec(label="small", covariate="diameter_mm", low=5, high=15)
    examples = examples_of([0, 0, 1, 1, 1], diameter_mm=[5, 10, 15, 15.1, 6])
    stratum = measure(np.array([0.9, 0.5, 0.6, 0.0, 0.4]), examples, spec).stratum
    assert (stratum.label, stratum.images, stratum.auc) == ("small", 3, 0.5)


def test_a_stratum_of_one_class_has_no_area():
    spec = StratumSpec(label="small", covariate="diameter_mm", low=0, high=1)
    examples = examples_of([0, 0, 1], diameter_mm=[0.5, 0.6, 9])
    stratum = measure(np.array([0.1, 0.2, 0.3]), examples, spec).stratum
    assert (stratum.images, stratum.auc, stratum.auc_interval) == (2, None, None)


class Brightness(nn.Module):
    """Scores 0 and the mean of the image."""

    def forward(self, images):
        return torch.stack([torch.zeros(len(images)), images.flatten(1).mean(1)], dim=1)


def test_a_prediction_is_the_probability_of_the_second_class_image_by_image():
    images = np.linspace(-3, 3, 600, dtype=np.float32)[:, None, None, None] * np.ones(
        (1, 1, 2, 2), np.float32
    )
    examples = Examples(images, np.arange(600) % 2, np.arange(600), {})
    scores = predict(Brightness(), torch.from_numpy(examples.images))
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-np.linspace(-3, 3, 600))), atol=1e-6)
    assert predict(Brightness(), torch.from_numpy(examples_of([]).images)).shape == (0,)


def test_a_prediction_leaves_the_network_ready_to_learn():
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(4, 2))
    images = np.ones((50, 1, 2, 2), np.float32)
    examples = Examples(images, np.arange(50) % 2, np.arange(50), {})
    first, second = (predict(network, torch.from_numpy(examples.images)) for _ in range(2))
    assert np.array_equal(first, second), "nothing is dropped while predicting"
    assert network.training
