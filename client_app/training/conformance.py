"""Whether an engine keeps the promise on this network, this machine and these library versions.

Asked at the start of every study at a site: two random patients' clipped gradients are compared with plain
autograd's, and neither may contribute more than C. A library that gets a layer wrong says nothing of it
(Opacus' convolutions with circular padding let one patient contribute 1.38 C), so it is measured.

Guarantee: an engine whose sum is off by more than 0.1 %, or whose patients add more than 1.001 C, on random
images of the study's shape trains on nobody (unit = patient, adjacency = add or remove one patient).
Assumption: an engine that is right on random images is right on patients'; their images are never used here.
"""

from collections.abc import Callable, Iterator
from math import sqrt

import torch
from torch import nn

from client_app.training.batches import Batch
from client_app.training.engines.engine import Losses, patient_loss, trainable
from client_app.training.gradients import PatientGradients
from federation.errors import PrivacyError

_TOLERANCE = 1e-3
# The first of the two patients has one image, the second two.
_IMAGES_OF = (1, 2)
IMAGES = sum(_IMAGES_OF)
_REMEDY = "Set site.resources.engine to another, or choose another model"


class _BrokenOffError(Exception):
    """Breaks a logical batch off, as a full disk or a signal could."""


def check_engine(
    make: Callable[[float], PatientGradients],
    network: nn.Module,
    *,
    images: torch.Tensor,
    losses: Losses,
    clipping_norm: float,
    name: str,
) -> None:
    """Compare an engine with plain autograd, at ``clipping_norm`` and where it clips one patient of two.

    Args:
        make: the engine's gradients of ``network`` for a clipping norm.
        network: what is trained.
        images: random, ``[3, ...]``, what the network takes.
        losses: of each image.
        clipping_norm: the study's C.
        name: of the engine, for the message.

    Raises:
        PrivacyError: it deviates, or a patient adds more than C.
    """
    patients = [
        Batch(own, torch.arange(len(own)) % 2, torch.ones(1, dtype=torch.bool))
        for own in torch.split(images, list(_IMAGES_OF))
    ]
    true = [_by_autograd(network, patient, losses) for patient in patients]
    between = sqrt(max(float(true[0].norm() * true[1].norm()), 1e-12))
    for norm in (between, clipping_norm):
        gradients = make(norm)
        _break_off(gradients, patients)
        expected = sum(g * min(1.0, norm / max(float(g.norm()), 1e-12)) for g in true)
        _compare(_flat(gradients.total(patients)), torch.as_tensor(expected), norm, name)
        for patient in patients:
            _bound(_flat(gradients.total([patient])), norm, name)


def _by_autograd(network: nn.Module, patient: Batch, losses: Losses) -> torch.Tensor:
    loss = patient_loss(network(patient.images), patient, losses)
    return _flat(
        list(torch.autograd.grad(loss, trainable(network), allow_unused=True, materialize_grads=True))
    )


def _flat(tensors: list[torch.Tensor]) -> torch.Tensor:
    """In float64, since norms of millions of float32 numbers come out too small."""
    return torch.cat([t.detach().flatten() for t in tensors]).double()


def _break_off(gradients: PatientGradients, patients: list[Batch]) -> None:
    """Leave a logical batch half-way; nothing of it may be in the next sum."""

    def broken() -> Iterator[Batch]:
        yield from patients
        raise _BrokenOffError

    try:
        gradients.total(broken())
    except _BrokenOffError:
        return


def _compare(found: torch.Tensor, expected: torch.Tensor, norm: float, name: str) -> None:
    deviation = float((found - expected).norm() / expected.norm().clamp(min=1e-12))
    if not deviation <= _TOLERANCE:
        raise PrivacyError(
            f"engine {name} deviates from autograd by {deviation:.1e} of the sum at C={norm:.3g}, more "
            f"than {_TOLERANCE:g}; nothing is trained. {_REMEDY}"
        )


def _bound(contribution: torch.Tensor, norm: float, name: str) -> None:
    reached = float(contribution.norm()) / norm
    if not reached <= 1 + _TOLERANCE:
        raise PrivacyError(
            f"engine {name} lets one patient contribute {reached:.3f} times C={norm:.3g}; nothing "
            f"is trained. {_REMEDY}"
        )
