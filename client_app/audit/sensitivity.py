"""How far one patient can move the sum, through the study's own network and the code that clips.

Guarantee that is tested: unit = patient, adjacency = add or remove one; the sum moves by at most C in L2,
however many images the patient has. Synthetic patients only; a limit that no synthetic patient breaks is no
proof for all patients.
"""

from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import torch
from torch import nn

from client_app.audit.records import Check, Contribution
from client_app.site import EngineName
from client_app.training.batches import Patients
from client_app.training.gradients import PatientGradients
from client_app.training.trained import as_seen, trained_part
from federation.study import Study
from federation.tasks import Examples

# So many images each; each count once with common images and once with glaring ones.
_IMAGES = (1, 2, 3, 5, 8, 13, 30)
_SCALES = (1.0, 1000.0)
# Little is then filled up for nothing where one patient comes alone.
_IMAGES_AT_ONCE = 4
# Sums of float32 are right to about this share of the clipping norm.
_ROUNDING = 1e-4


def sensitivity_check(
    study: Study, network: nn.Module, engine: EngineName
) -> tuple[Check, tuple[Contribution, ...]]:
    """Let patients of 1 to 30 images come alone, and the largest and smallest of them to all others."""
    clipping_norm = study.privacy.clipping_norm or 1.0
    patients, gradients = _prepared(study, deepcopy(network), engine)
    everybody = list(range(len(patients)))

    def moved(chosen: Sequence[int]) -> torch.Tensor:
        batches = patients.batches(np.asarray(chosen, dtype=np.int64), _IMAGES_AT_ONCE)
        return torch.cat([total.detach().flatten() for total in gradients.total(batches)]).double()

    alone = [float(moved([person]).norm()) / clipping_norm for person in everybody]
    together = moved(everybody)
    joining = [
        float((together - moved([p for p in everybody if p != person])).norm()) / clipping_norm
        for person in (0, len(_IMAGES) - 1)
    ]
    counts = [*_images_of(), _IMAGES[0], _IMAGES[-1]]
    found = tuple(
        Contribution(images=count, share=share) for count, share in zip(counts, alone + joining, strict=True)
    )
    most = max(found, key=lambda each: each.share)
    return Check(
        name="sensitivity",
        passed=most.share <= 1 + _ROUNDING,
        found=most.share,
        limit=1.0,
        reason=f"of patients with {_IMAGES[0]} to {_IMAGES[-1]} images, none may move the sum by more than "
        f"{clipping_norm:g}; one with {most.images} moved it by {most.share:.3f} times that",
    ), found


def _images_of() -> list[int]:
    """How many images each synthetic patient has."""
    return [count for _ in _SCALES for count in _IMAGES]


def _prepared(study: Study, network: nn.Module, engine: EngineName) -> tuple[Patients, PatientGradients]:
    """Synthetic patients as the trained part of the network sees them, and that part's gradients."""
    random = np.random.default_rng(0)
    of_patient = np.repeat(np.arange(len(_images_of())), _images_of())
    images = random.normal(size=(len(of_patient), study.task.channels, *study.task.image_size))
    scales = np.repeat(_SCALES, sum(_IMAGES))
    images = (images.T * scales).T.astype(np.float32)
    targets = random.integers(0, len(study.task.classes), size=len(of_patient))
    patients = Patients(Examples(images, targets, of_patient, covariates={}))
    seen = patients.seen_as(as_seen(study, network, patients.images))
    norm, weights = study.privacy.clipping_norm, study.training.class_weights
    return seen, PatientGradients(trained_part(study, network), norm, weights, engine)
