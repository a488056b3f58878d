"""Batches of several patients, and what every engine must make of them."""

from collections import Counter

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from client_app.training.batches import Batch
from client_app.training.engines.engine import Engine


def image_losses(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross entropy of each image; of score maps, of their mean."""
    pooled = scores.flatten(2).mean(2) if scores.dim() > 2 else scores
    return cross_entropy(pooled, targets, reduction="none")


def make_batches(shape: tuple[int, ...], images_of: list[int], seed: int = 0) -> list[Batch]:
    """Random patients in double precision, so that rounding hides nothing; equally many images in a batch."""
    random = torch.Generator().manual_seed(seed)
    return [
        Batch(
            images=torch.randn(each * patients, *shape, generator=random, dtype=torch.float64),
            targets=torch.randint(0, 2, (each * patients,), generator=random),
            counted=torch.ones(patients, dtype=torch.bool),
        )
        for each, patients in Counter(images_of).items()
    ]


def clipped_sum(engine: Engine, batches: list[Batch]) -> torch.Tensor:
    return torch.stack([flat(engine.clipped_sum(batch)) for batch in batches]).sum(0)


def flat(tensors: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([t.detach().flatten() for t in tensors])


def gradients_by_autograd(network: nn.Module, batches: list[Batch]) -> list[torch.Tensor]:
    """Each patient's gradient of the mean loss of that patient's images."""
    learning = [p for p in network.parameters() if p.requires_grad]
    found = []
    for batch in batches:
        people = zip(batch.images.split(batch.each), batch.targets.split(batch.each), strict=True)
        for images, targets in people:
            loss = image_losses(network(images), targets).mean()
            gradients = torch.autograd.grad(loss, learning, allow_unused=True, materialize_grads=True)
            found.append(flat(list(gradients)))
    return found


def middle(gradients: list[torch.Tensor]) -> float:
    """A clipping norm that clips about half of the patients."""
    return float(torch.stack([g.norm() for g in gradients]).median()) * 1.01


def clipped(gradients: list[torch.Tensor], norm: float) -> torch.Tensor:
    return torch.stack([g * min(1.0, norm / float(g.norm())) for g in gradients]).sum(0)


def deviation(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def traces(network: nn.Module) -> object:
    """Everything that an engine could leave behind in a network."""
    on_parameters = [(p.requires_grad, p.grad is None, sorted(vars(p))) for p in network.parameters()]
    on_layers = [
        (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks), sorted(vars(m)))
        for m in network.modules()
    ]
    return on_parameters, on_layers
