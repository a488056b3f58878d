from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy

from client_app.training.batches import Batch, Patients
from client_app.training.engines.engine import clipped_sum
from client_app.training.gradients import PatientGradients
from federation.config import compose_run
from federation.errors import PrivacyError
from federation.models import build_network
from federation.tasks import Examples

NORM = 0.5
# Sums of float32 are right to about this share of the clipping norm.
ROUNDING = 1e-4


def cohort(images_of, size=12, scale=1.0, seed=0):
    """Patients with so many images each."""
    random = np.random.default_rng(seed)
    of_patient = np.repeat(np.arange(len(images_of)), images_of)
    images = scale * random.normal(size=(len(of_patient), 1, size, size))
    targets = random.integers(0, 2, size=len(of_patient))
    return Patients(Examples(images.astype(np.float32), targets, of_patient, covariates={}))


def flat(tensors):
    return torch.cat([t.detach().flatten() for t in tensors])


def total(gradients, patients, chosen=None, most=4):
    chosen = np.arange(len(patients)) if chosen is None else np.asarray(chosen, dtype=np.int64)
    return flat(gradients.total(patients.batches(chosen, most)))


def by_autograd(network, patients, class_weights=None):
    """Each patient's gradient of the mean loss of that patient's images, one patient after another."""
    weights = None if class_weights is None else torch.tensor(class_weights)
    learning = [p for p in network.parameters() if p.requires_grad]
    for person in range(len(patients)):
        (batch,) = patients.batches(np.array([person]), 1)
        losses = cross_entropy(network(batch.images), batch.targets, weights, reduction="none")
        yield flat(torch.autograd.grad(losses.mean(), learning))


def clipped(gradients, norm):
    return sum(g * min(1.0, norm / float(g.norm())) for g in gradients)


@pytest.fixture(scope="session")
def tiny(make_study):
    """A new tiny network with the same weights; its gradients can be taken by one ``PatientGradients``."""
    study = make_study()
    return lambda: build_network(study.model, study.task)


@pytest.mark.parametrize("model", ["small_cnn", "densenet121", "resnet18", "torchvision_resnet18"])
def test_clipped_gradients_equal_those_of_autograd_patient_by_patient(model):
    study = compose_run([f"model={model}", "model.trainable=all", "task.image_size=[32,32]"]).study
    patients = cohort([1, 3], size=32)
    patients = patients.seen_as(patients.images.double())  # so that rounding hides nothing
    network = build_network(study.model, study.task).double()
    gradients = list(by_autograd(network, patients))
    middle = float(sum(g.norm() for g in gradients) / 2)  # one patient is clipped, the other is not
    expected = clipped(gradients, middle)
    found = total(PatientGradients(network, middle), patients)
    assert float((found - expected).norm() / expected.norm()) < 1e-9


@pytest.mark.parametrize("trainable", ["norm_and_head", "head"])
def test_only_what_learns_has_a_gradient_and_counts_for_the_norm(trainable, make_study):
    study = make_study(model={"trainable": trainable})
    network = build_network(study.model, study.task)
    patients = cohort([2, 1, 4])
    gradients = list(by_autograd(network, patients))
    norm = float(sorted(g.norm() for g in gradients)[1])
    found = total(PatientGradients(network, norm), patients)
    assert len(found) == sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert torch.allclose(found, clipped(gradients, norm), rtol=1e-4, atol=1e-6)


def test_class_weights_weigh_the_loss(tiny):
    patients, weights = cohort([1, 2, 3]), (0.5, 3.0)
    expected = sum(by_autograd(tiny(), patients, weights))
    assert torch.allclose(total(PatientGradients(tiny(), None, weights), patients), expected, atol=1e-5)
    high = total(PatientGradients(tiny(), 1e6, weights), patients)
    assert torch.allclose(high, expected, rtol=1e-4, atol=1e-5)


def test_without_a_norm_the_gradients_are_summed_as_they_are(tiny):
    patients = cohort([1, 5], scale=10)
    expected = sum(by_autograd(tiny(), patients))
    assert torch.allclose(total(PatientGradients(tiny(), None), patients), expected, rtol=1e-4, atol=1e-5)


def test_the_sum_does_not_depend_on_how_patients_are_batched(tiny):
    patients, gradients = cohort([3, 1, 4, 2]), PatientGradients(tiny(), NORM)
    together = total(gradients, patients)
    assert torch.allclose(together, total(gradients, patients, most=1), atol=1e-5)
    alone = sum(total(gradients, patients, [person]) for person in range(4))
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("norm", [None, NORM])
def test_nobody_gives_zeros(norm, tiny):
    assert not total(PatientGradients(tiny(), norm), cohort([1]), []).any()


def test_nothing_is_left_behind_in_the_network(tiny):
    gradients, patients = PatientGradients(tiny(), NORM), cohort([2, 2])
    first = total(gradients, patients)
    assert all(p.grad is None and p.requires_grad for p in gradients.parameters)
    assert torch.equal(first, total(gradients, patients))


def test_a_network_that_learns_nothing_is_refused():
    with pytest.raises(PrivacyError, match=r"model\.trainable"):
        PatientGradients(nn.Linear(1, 1).requires_grad_(False), NORM)


def test_memory_bounds_the_images_of_a_batch(tiny):
    assert PatientGradients(tiny(), NORM).images_at_once == 256
    assert PatientGradients(nn.Linear(10_000, 4_000), NORM).images_at_once == 3


class ClipsEachImage(PatientGradients):
    """Mutant: treats every image as if it were a patient."""

    def total(self, batches):
        return super().total(replace(b, counted=b.counted.repeat_interleave(b.each)) for b in batches)


def moved_by_one_patient(gradients, images, scale=1.0, seed=0):
    """How far the sum moves when a patient with so many images joins some others."""
    patients = cohort([2, 1, images, 3, 1], scale=scale, seed=seed)
    return float((total(gradients, patients) - total(gradients, patients, [0, 1, 3, 4])).norm())


@settings(max_examples=60, deadline=None)
@given(
    images=st.integers(1, 30),
    scale=st.sampled_from([0.0, 1e-3, 1.0, 50.0, 1e4, 1e18, 1e30, 3e37]),
    seed=st.integers(0, 1000),
    data=st.data(),
)
def test_one_patient_moves_the_sum_by_the_norm_at_most(tiny, images, scale, seed, data):
    network, norm = tiny(), data.draw(st.sampled_from([1e-3, NORM, 30.0]))
    weights = data.draw(st.sampled_from([1e-3, 1.0, 1e3, 1e10]))
    with torch.no_grad():
        for p in network.parameters():
            p.mul_(weights)
    moved = moved_by_one_patient(PatientGradients(network, norm), images, scale, seed)
    assert moved <= norm * (1 + ROUNDING)


@pytest.mark.parametrize(
    "mutant",
    [lambda network: PatientGradients(network, None), lambda network: ClipsEachImage(network, NORM)],
    ids=["no clipping", "clipping per image"],
)
def test_a_sum_that_one_patient_moves_further_is_caught(mutant, tiny):
    assert moved_by_one_patient(mutant(tiny()), images=30) > NORM * (1 + ROUNDING)


def test_images_move_nothing_of_other_patients(tiny):
    """Layers treat images apart: what is between two patients of one batch is only their sum."""
    wild = cohort([2, 3], scale=1.0)
    wild.images[2:] = 1e38
    together = total(PatientGradients(tiny(), NORM), wild)
    alone = total(PatientGradients(tiny(), NORM), wild, [0])
    assert float((together - alone).norm()) <= NORM * (1 + ROUNDING)


@pytest.mark.parametrize("wild", [float("nan"), float("inf"), 1e38])
def test_a_gradient_that_is_not_finite_counts_as_zero(wild):
    """Otherwise a model made to overflow on one patient would tell, past all noise, of that patient."""
    both = torch.tensor([[0.1] * 3, [wild] * 3])
    everybody = Batch(both, torch.zeros(2, dtype=torch.int64), torch.tensor([True, True]))
    (alone,) = clipped_sum([both], 1.0, replace(everybody, counted=torch.tensor([True, False])))
    (together,) = clipped_sum([both], 1.0, everybody)
    assert float((together - alone).norm()) <= 1 + ROUNDING
