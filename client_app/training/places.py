"""Whether a patient's gradient depends on its place in a batch.

Shapes of batches do not tell who is in them (``training.batches``). One thing is left: another patient pushes
those behind it to other places. Where it matters, patients go through the network one by one.

Two things make it matter. Functions such as the sigmoid come from a vector library but for the last numbers
of a tensor, which come from a scalar one that rounds a few arguments otherwise; so whatever is not known to
be the same arithmetic everywhere counts as mattering: a trial could miss those few. And some kernels, such as
grouped convolutions, add up in an order that depends on the place, which shows on random images.

Assumption: which kernel runs, and so how it rounds, follows from shapes, not from what images show.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from client_app.training.batches import Batch
from client_app.training.gradients import PatientGradients
from client_app.training.trained import as_seen, random_images
from federation.head import IMAGES_AT_ONCE
from federation.study import Study

# Patients with one image, and with several.
_EACH = (1, 2)
_DRAWS = 3
# What only moves numbers, and what is made of sums, products, quotients and comparisons alone, which IEEE 754
# rounds alike in vectors and scalars.
_MOVES = (
    "t transpose permute view _unsafe_view reshape expand squeeze unsqueeze select slice cat clone detach "
    "repeat ones_like zeros_like empty empty_like fill_ copy_ select_backward slice_backward constant_pad_nd"
)
_ARITHMETIC = (
    "add sub mul div sum mean mm addmm bmm convolution convolution_backward relu threshold_backward "
    "leaky_relu leaky_relu_backward _prelu_kernel _prelu_kernel_backward native_group_norm "
    "native_group_norm_backward native_batch_norm native_batch_norm_backward native_layer_norm "
    "native_layer_norm_backward avg_pool2d avg_pool2d_backward avg_pool3d avg_pool3d_backward "
    "max_pool2d_with_indices max_pool2d_with_indices_backward max_pool3d_with_indices "
    "max_pool3d_with_indices_backward"
)
_ALIKE_EVERYWHERE = frozenset(f"aten::{name}" for name in (*_MOVES.split(), *_ARITHMETIC.split()))


def place_matters(gradients: PatientGradients, trained: nn.Module, images: torch.Tensor) -> bool:
    """Whether a bit of scores or gradients' norms could change when an image moves on by one place.

    Any two neighbouring places are compared on random images, and thereby all of them.

    Args:
        gradients: of ``trained``, by the engine that is to be trained with.
        trained: images to scores.
        images: random ones, as many as a batch has; nobody's.
    """
    if not _operations(trained, images[:1]) <= _ALIKE_EVERYWHERE:
        return True
    draw = torch.Generator().manual_seed(0)
    return any(
        _differs(gradients, trained, images[torch.randperm(len(images), generator=draw)], each)
        for each in _EACH
        for _ in range(_DRAWS)
        if each <= len(images)
    )


def place_matters_before(study: Study, network: nn.Module) -> bool:
    """The same, by trial, of what lies before the trained part of the study's ``network``.

    There batches have so many images that on one thread no tensor has last numbers of its own. Several
    threads share a tensor out, and each has last numbers.
    """
    if torch.get_num_threads() > 1:
        return True
    images = random_images(study, IMAGES_AT_ONCE)
    here, moved = as_seen(study, network, images), as_seen(study, network, images.roll(1, 0))
    return not torch.equal(here.roll(1, 0), moved)


class _Watched(TorchDispatchMode):
    """Writes down what torch computes, in this thread."""

    def __init__(self, operations: set[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._operations = operations

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self._operations.add(func.overloadpacket._qualified_op_name)  # type: ignore[attr-defined]
        return func(*args, **(kwargs or {}))


def _operations(trained: nn.Module, images: torch.Tensor) -> set[str]:
    """Names of all operations of a forward to scores and the way back to the parameters."""
    learning = [p for p in trained.parameters() if p.requires_grad]
    operations: set[str] = set()
    with _Watched(operations):
        scores = trained(images)
        torch.autograd.grad(scores.sum(), learning, allow_unused=True)
    return operations


def _differs(gradients: PatientGradients, trained: nn.Module, images: torch.Tensor, each: int) -> bool:
    patients = len(images) // each
    images, targets = images[: patients * each], torch.arange(patients).repeat_interleave(each) % 2
    here = Batch(images, targets, torch.ones(patients, dtype=torch.bool))
    moved = Batch(images.roll(each, 0), targets.roll(each, 0), here.counted)
    with torch.no_grad():
        scores, scores_moved = trained(here.images), trained(moved.images)
    return not (
        torch.equal(scores.roll(each, 0), scores_moved)
        and torch.equal(gradients.squared_norms(here).roll(1, 0), gradients.squared_norms(moved))
    )
