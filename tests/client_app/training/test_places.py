"""No patient's gradient depends, in any bit, on who else is in a step."""

import numpy as np
import pytest
import torch
from torch import nn

from client_app.training.batches import Batch, Patients
from client_app.training.gradients import PatientGradients
from client_app.training.places import place_matters, place_matters_before
from federation.config import compose_run
from federation.models import build_network
from federation.tasks import Examples

SIDE = 32
C = 1.0


def built(model, trainable="all"):
    overrides = [f"model={model}", f"model.trainable={trainable}", f"task.image_size=[{SIDE},{SIDE}]"]
    study = compose_run(overrides).study
    return study, build_network(study.model, study.task)


def images(count):
    return torch.randn(count, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("model", ["small_cnn", "resnet10", "densenet121"])
def test_in_most_networks_places_do_not_matter(model):
    _, network = built(model)
    assert not place_matters(PatientGradients(network, C), network, images(5))


@pytest.mark.parametrize("inputs", [13, 33, 512])
def test_where_a_row_lies_in_memory_does_not_matter(inputs):
    head, rows = nn.Linear(inputs, 2), torch.randn(30, inputs)
    assert not place_matters(PatientGradients(head, C), head, rows)
    lying = [torch.empty(inputs + 16)[start : start + inputs].view(1, -1) for start in range(16)]
    assert len({tuple(head(place.copy_(rows[:1])).flatten().tolist()) for place in lying}) == 1


@pytest.mark.parametrize(
    "activation", [nn.Sigmoid(), nn.SiLU(), nn.GELU(), nn.Tanh(), nn.ELU(), nn.Softmax(1)]
)
def test_functions_whose_last_numbers_round_otherwise_matter_without_a_trial(activation):
    network = nn.Sequential(nn.Linear(8, 16), activation, nn.Linear(16, 2))
    assert place_matters(PatientGradients(network, C, engine="hooks"), network, torch.randn(16, 8))
    network[1] = nn.ReLU()
    assert not place_matters(PatientGradients(network, C), network, torch.randn(16, 8))


class LooksAround(nn.Module):
    """Mutant: rounds otherwise at the first place."""

    def __init__(self, network, forward):
        super().__init__()
        self.network = network
        self._forward = forward

    def forward(self, x):
        turned = torch.cat([x[:1] * (1 + 1e-6), x[1:]])
        if self._forward:
            return self.network(turned)
        return self.network(x + (turned - turned.detach()) - (x - x.detach()))


@pytest.mark.parametrize("forward", [True, False], ids=["forward", "backward"])
def test_a_network_in_which_they_matter_is_noticed(forward):
    _, network = built("small_cnn")
    odd = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), LooksAround(network, forward))
    gradients = PatientGradients(odd, C, engine="hooks")
    assert place_matters(gradients, odd, images(5))


def test_what_lies_before_the_head_is_looked_at_too(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    study, network = built("resnet10", "head")
    assert not place_matters_before(study, network)
    forward = network.conv1.forward
    with torch.no_grad():
        network.conv1.weight.mul_(1.01)  # features of other weights are computed anew
    monkeypatch.setattr(network.conv1, "forward", lambda x: forward(torch.cat([x[:1] * 1.001, x[1:]])))
    assert place_matters_before(study, network)


def test_before_the_head_several_threads_count_as_mattering(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert place_matters_before(*built("resnet10", "head"))


@pytest.fixture(scope="module")
def hostile():
    """A network made so that one patient and two equal ones, as a batch each, get opposite gradients.

    A feature of the image comes out otherwise in batches of one and two; the head has its threshold between.
    """
    _, network = built("densenet121")
    image, features = images(1), []
    head = network.class_layers.out
    handle = head.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0].detach()))
    with torch.no_grad():
        for count in (1, 2):
            network(image.repeat(count, 1, 1, 1))
    handle.remove()
    few, many = (seen[0].double() for seen in features)
    feature = int((many - few).abs().argmax())
    if not (many - few).any():
        pytest.skip("this machine rounds batches of one and two images alike")
    slope = 2.0**40 * float(torch.sign(many - few)[feature])
    with torch.no_grad():
        for p in (head.weight, head.bias):
            p.zero_()
        head.weight[1, feature] = slope
        head.bias[1] = float(-slope * (few + many)[feature] / 2)
    return network, image


def test_weights_that_amplify_rounding_tell_nothing_of_who_is_there(hostile):
    network, image = hostile
    gradients = PatientGradients(network, C)
    equal = np.zeros(2, dtype=np.int64)
    patients = Patients(Examples(image.repeat(2, 1, 1, 1).numpy(), equal, np.arange(2), covariates={}))

    def total(count):
        return sum_of(gradients, patients.batches(np.arange(count), 4))

    assert float((total(2) - total(1)).norm()) <= C * (1 + 1e-6)
    # Mutant: batches whose shape says how many patients there are.
    bare = [
        Batch(image.repeat(count, 1, 1, 1), torch.zeros(count, dtype=torch.int64), torch.ones(count) > 0)
        for count in (1, 2)
    ]
    assert float((sum_of(gradients, bare[1:]) - sum_of(gradients, bare[:1])).norm()) > 1.9 * C


def sum_of(gradients, batches):
    return torch.cat([part.flatten() for part in gradients.total(batches)]).double()
