import pytest
import torch
from torch import nn

from federation.errors import DataError
from federation.optimizers import make_optimizer, pack_state, unpack_state
from federation.study import TrainingSpec

SGD = TrainingSpec(steps=1, learning_rate=0.1, optimizer="sgd", momentum=0.9)
ADAM = TrainingSpec(steps=1, learning_rate=0.1, optimizer="adam")


def walk(spec, steps, packed=None, start=None):
    """Go down |x|^4 from ``start``; returns where it ended and what the optimiser remembers."""
    torch.manual_seed(0)
    parameters = [nn.Parameter(torch.randn(3)), nn.Parameter(torch.randn(2, 2))]
    if start is not None:
        for parameter, value in zip(parameters, start, strict=True):
            parameter.data = value.clone()
    optimizer = make_optimizer(spec, parameters)
    if packed is not None:
        unpack_state(optimizer, packed)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.stack([p.pow(4).sum() for p in parameters]).sum().backward()
        optimizer.step()
    return [p.detach() for p in parameters], pack_state(optimizer)


@pytest.mark.parametrize("spec", [SGD, ADAM], ids=["sgd", "adam"])
def test_an_optimiser_goes_on_where_another_stopped_bit_for_bit(spec):
    whole, _ = walk(spec, 6)
    half, packed = walk(spec, 3)
    rest, _ = walk(spec, 3, packed, start=half)
    forgetful, _ = walk(spec, 3, None, start=half)
    assert all(torch.equal(a, b) for a, b in zip(whole, rest, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(whole, forgetful, strict=True))


def test_without_momentum_there_is_nothing_to_remember():
    plain = SGD.model_copy(update={"momentum": 0.0})
    _, packed = walk(plain, 2)
    walk(plain, 2, packed)


@pytest.mark.parametrize("damage", [lambda p: b"", lambda p: b"no state", lambda p: p[:-1]])
def test_what_is_no_state_is_refused(damage):
    packed = damage(walk(SGD, 1)[1])
    with pytest.raises(DataError, match=f"{len(packed)} bytes"):
        walk(SGD, 1, packed)
