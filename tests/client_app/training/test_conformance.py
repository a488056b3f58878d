"""An engine that breaks the promise does not get to train."""

import pytest
import torch
from engine_checks import image_losses
from torch import nn

from client_app.site import Resources
from client_app.training.conformance import IMAGES, check_engine
from client_app.training.engines import ENGINES, hooks
from client_app.training.gradients import PatientGradients
from client_app.training.local_round import LocalTraining
from federation.errors import PrivacyError
from federation.models import build_network

C = 0.5
SHAPE = (1, 8, 8)


def network(padding_mode="zeros"):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, padding_mode=padding_mode), nn.Tanh(), nn.Flatten(), nn.Linear(256, 2)
    )


def check(kind=PatientGradients, engine="book_keeping", norm=C, net=None):
    net = network() if net is None else net
    images = torch.randn(IMAGES, *SHAPE, generator=torch.Generator().manual_seed(0))
    check_engine(
        lambda clipping_norm: kind(net, clipping_norm, engine=engine),
        net,
        images=images,
        losses=image_losses,
        clipping_norm=norm,
        name=engine,
    )


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("norm", [1e-3, C, 1e3])
def test_every_engine_keeps_the_promise(engine, norm):
    check(engine=engine, norm=norm)


class ClipsAtThree(PatientGradients):
    """Mutant: clips at three times the norm."""

    def __init__(self, net, clipping_norm, *options, **named):
        super().__init__(net, 3 * clipping_norm, *options, **named)


class LeavesItsSum(PatientGradients):
    """Mutant: adds up in the parameters, as Opacus' ``summed_grad``, and clears them only at the end."""

    def total(self, batches):
        for batch in batches:
            for p, part in zip(self.parameters, self._batch_sum(batch), strict=True):
                p.summed_grad = getattr(p, "summed_grad", 0.0) + part
        sums = [p.summed_grad for p in self.parameters]
        for p in self.parameters:
            del p.summed_grad
        return sums


class NotFinite(PatientGradients):
    """Mutant: gives what compares with nothing."""

    def total(self, batches):
        return [total * float("nan") for total in super().total(batches)]


@pytest.mark.parametrize("mutant", [ClipsAtThree, LeavesItsSum, NotFinite])
def test_an_engine_that_breaks_it_is_caught(mutant):
    with pytest.raises(PrivacyError, match=r"book_keeping deviates .* site\.resources\.engine"):
        check(mutant)


@pytest.mark.parametrize("engine", ["ghost", "hooks"])
def test_opacus_error_in_circular_padding_is_caught(engine, monkeypatch):
    monkeypatch.setattr(hooks, "refuse_padding", lambda _: None)
    with pytest.raises(PrivacyError, match=f"{engine} deviates"):
        check(engine=engine, net=network("circular"))


def test_a_patient_who_adds_more_than_the_norm_is_caught(monkeypatch):
    """Also where the sum agrees: the reference may err, the bound may not be broken."""
    monkeypatch.setattr("client_app.training.conformance._compare", lambda *_: None)
    with pytest.raises(PrivacyError, match=r"contribute .* times C"):
        check(ClipsAtThree, norm=1e-3)


def test_a_site_does_not_train_with_such_an_engine(make_study, squares, monkeypatch):
    monkeypatch.setattr("client_app.training.local_round.PatientGradients", ClipsAtThree)
    study = make_study(privacy={"clipping_norm": 1e-2})
    made = build_network(study.model, study.task)
    with pytest.raises(PrivacyError, match="nothing is trained"):
        LocalTraining(study, made, squares, 20, bytes(32), resources=Resources(engine="hooks"))
