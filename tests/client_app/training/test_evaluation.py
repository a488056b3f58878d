import numpy as np
import pytest
import torch
from scipy.special import expit
from scipy.stats import kstest
from torch import nn

from client_app.training import evaluation
from client_app.training.evaluation import histogram, noised_histogram, scores_of
from federation.messages import BIN_EDGES, BINS
from federation.models import build_network, set_parameters
from federation.promise import evaluation_noise
from federation.tasks import Examples, load_task

GIVEN_AWAY = "a held-out patient's score read off a histogram"
MOVES_OTHERS = "a held-out patient who moves others over an edge, by how their batch then rounds"
HELD_BY = "Gaussian noise for one patient in one place of the histogram"
EPSILON = 2.0


@pytest.fixture
def study(make_study):
    return make_study(evaluation={"epsilon": EPSILON})


@pytest.fixture
def held_out():
    return load_task("toy_task", {"held_out": 40}).cohort(0, 2).test


@pytest.fixture
def scores(study, held_out, start_of):
    network = build_network(study.model, study.task)
    set_parameters(network, start_of(study))
    return scores_of(study, network, held_out)


def examples(*patients):
    """Patients as (targets of their images), each image a row."""
    targets = np.array([target for images in patients for target in images], dtype=np.int64)
    numbers = np.repeat(np.arange(len(patients)), [len(images) for images in patients])
    return Examples(np.zeros((len(targets), 1), np.float32), targets, numbers, {})


@pytest.fixture
def released(study, held_out, start_of):
    """``released(number)``: one histogram under another secret each."""
    network, start = build_network(study.model, study.task), start_of(study)

    def one(number, of=held_out, asked=study):
        secret = number.to_bytes(32, "big")
        return noised_histogram(asked, network, start, of, secret).astype(np.float64)

    return one


class TestHistogram:
    def test_each_score_falls_between_its_edges_and_one_on_an_edge_above_it(self):
        log_odds = np.array([-9.0, *BIN_EDGES, 7.0, 9.0])
        counts = histogram(expit(log_odds), examples(*[[0]] * len(log_odds)))
        assert counts[0].tolist() == [1, 1, 1, 1, 1, 1, 1, 1, 2, 2]
        assert counts[1].sum() == 0

    def test_a_patient_counts_once_by_the_highest_score_and_is_diseased_if_any_image_is(self):
        counts = histogram(expit(np.array([-9.0, 0.5, 9.0, -9.0])), examples([0, 1, 0], [0]))
        assert counts[1].tolist() == [0] * (BINS - 1) + [1]
        assert counts[0].tolist() == [1] + [0] * (BINS - 1)

    def test_every_class_but_the_first_is_a_disease(self):
        assert histogram(np.array([0.5, 0.5, 0.5]), examples([0], [1], [2])).sum(axis=1).tolist() == [1, 2]

    def test_nobody_makes_no_counts(self):
        assert histogram(np.zeros(0), examples()).sum() == 0

    @pytest.mark.attack(GIVEN_AWAY, held_by=HELD_BY)
    def test_one_patient_more_moves_one_count_by_one_whatever_their_images(self, held_out, scores):
        assert moved(histogram, scores, held_out) == {1}


def moved(count, scores, examples):
    """By how much each patient moves the counts, in all."""
    changes = set()
    for number, identity in enumerate(examples.identities):
        rest = count(scores[examples.patients != number], examples.without([identity]))
        changes.add(np.abs(count(scores, examples) - rest).sum())
    return changes


class RoundsByNumber(nn.Module):
    """Kernels that round larger batches otherwise, under a model with all scores at an edge."""

    def forward(self, images):
        one_way = 1e-6 if len(images) % 2 else -1e-6
        return torch.tensor([0.0, one_way]).expand(len(images), 2)


@pytest.fixture
def moved_others(make_study, no_privacy, held_out):
    """By how much each patient moves the counts where rounding hangs on the batch."""
    study = make_study(privacy=no_privacy, evaluation={})

    def counts(_, examples):
        return noised_histogram(study, RoundsByNumber(), np.zeros(0, np.float32), examples, bytes(32))

    return lambda: moved(counts, np.zeros(len(held_out)), held_out)


@pytest.mark.attack(MOVES_OTHERS, held_by="images go through the network one by one")
def test_who_else_is_there_moves_nobody(moved_others):
    assert moved_others() == {1}


@pytest.mark.attack(MOVES_OTHERS, held_by="images go through the network one by one")
@pytest.mark.parametrize("trainable", ["all", "head"])
def test_no_bit_of_a_score_hangs_on_who_else_is_there(trainable, make_study, start_of):
    study = make_study(model={"trainable": trainable})
    network, many = build_network(study.model, study.task), load_task("toy_task", {"held_out": 150})
    set_parameters(network, start_of(study))
    everybody = many.cohort(0, 2).test
    scores = scores_of(study, network, everybody, one_by_one=True)
    for number in (0, 70, 149):
        rest = everybody.without([everybody.identities[number]])
        found = scores_of(study, network, rest, one_by_one=True)
        assert np.array_equal(found, scores[everybody.patients != number])


@pytest.mark.mutant(MOVES_OTHERS, "images go through the network in batches")
def test_in_batches_one_patient_moves_many(moved_others, monkeypatch):
    def in_batches(study, network, examples, *, one_by_one):
        return scores_of(study, network, examples)

    monkeypatch.setattr(evaluation, "scores_of", in_batches)
    assert max(moved_others()) > 1


@pytest.mark.attack(GIVEN_AWAY, held_by=HELD_BY)
def test_the_noise_is_what_was_promised(study, released, held_out, scores):
    truth = histogram(scores, held_out).flatten()
    noise = np.concatenate([released(number) - truth for number in range(60)])
    assert kstest(noise / evaluation_noise(study), "norm").pvalue > 1e-3


@pytest.mark.mutant(GIVEN_AWAY, "half of the noise")
def test_half_of_the_noise_would_be_noticed(study, released, held_out, scores, monkeypatch):
    monkeypatch.setattr(evaluation, "evaluation_noise", lambda study: evaluation_noise(study) / 2)
    with pytest.raises(AssertionError):
        test_the_noise_is_what_was_promised(study, released, held_out, scores)


@pytest.mark.mutant(GIVEN_AWAY, "a count for each image")
def test_a_count_for_each_image_moves_by_more_than_the_noise_is_for(held_out, scores):
    def of_images(scores, examples):
        alone = Examples(examples.images, examples.targets, np.arange(len(examples)), {})
        return histogram(scores, alone)

    assert max(moved(of_images, scores, held_out)) > 1


def test_the_same_question_has_the_same_noise_and_another_secret_another(released):
    assert np.array_equal(released(1), released(1))
    assert not np.array_equal(released(1), released(2))


def test_without_a_promise_the_counts_are_whole(released, make_study, no_privacy):
    counts = released(1, asked=make_study(privacy=no_privacy, evaluation={}))
    assert counts.sum() == 40
    assert np.array_equal(counts, np.rint(counts))


def test_scores_are_the_same_where_only_the_head_learns(make_study, held_out, start_of):
    found = []
    for trainable in ("all", "head"):
        study = make_study(model={"trainable": trainable})
        network = build_network(study.model, study.task)
        set_parameters(network, start_of(study))
        found.append(scores_of(study, network, held_out))
    torch.testing.assert_close(torch.from_numpy(found[0]), torch.from_numpy(found[1]))
