"""Whether a patient's gradient depends on its place in a batch.

Shapes of batches do not tell who is in them (``training.batches``). One thing is left: another patient pushes
those behind it to other places. Most kernels treat all places alike to the last bit; some, such as grouped
convolutions, do not. Then patients go through the network one by one.

Assumption: which kernel runs, and so how it rounds, follows from shapes, not from what images show.
"""

import torch
from torch import nn

from client_app.training.batches import Batch
from client_app.training.gradients import PatientGradients
from client_app.training.trained import as_seen
from federation.head import IMAGES_AT_ONCE
from federation.study import Study

# Patients with one image, and with several.
_EACH = (1, 2)


def place_matters(gradients: PatientGradients, trained: nn.Module, images: torch.Tensor) -> bool:
    """Whether a bit of scores or gradients' norms changes when every image moves on by one place.

    Any two neighbouring places are so compared on one image, and thereby all of them.

    Args:
        gradients: of ``trained``, by the engine that is to be trained with.
        trained: images to scores.
        images: random ones, as many as a batch has; nobody's.
    """
    return any(_differs(gradients, trained, images, each) for each in _EACH if each <= len(images))


def place_matters_before(study: Study, network: nn.Module) -> bool:
    """The same of what lies before the trained part of the study's ``network``."""
    shape = (IMAGES_AT_ONCE, study.task.channels, *study.task.image_size)
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    here, moved = as_seen(study, network, images), as_seen(study, network, images.roll(1, 0))
    return not torch.equal(here.roll(1, 0), moved)


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
