"""The part of a network that a study trains, and what that part gets to see of images."""

import torch
from torch import nn

from federation.head import IMAGES_AT_ONCE, head_inputs, head_of
from federation.study import Study


def only_head_is_trained(study: Study) -> bool:
    """Whether what the head sees need be computed only once: nothing before it learns, and no image moves."""
    return study.model.trainable == "head" and study.training.augmentation is None


def trained_part(study: Study, network: nn.Module) -> nn.Module:
    """What is trained of ``network``, as a module of its own: it ends in the scores."""
    return head_of(network, study.model) if only_head_is_trained(study) else network


def as_seen(
    study: Study, network: nn.Module, images: torch.Tensor, images_at_once: int = IMAGES_AT_ONCE
) -> torch.Tensor:
    """What the trained part takes for ``images`` ``[n, channels, ...]``.

    Where something before it does not learn, they go through that ``images_at_once``.
    """
    return (
        head_inputs(network, study.model, images, images_at_once) if only_head_is_trained(study) else images
    )


def random_examples(study: Study, network: nn.Module, count: int) -> torch.Tensor:
    """``count`` random examples of what the trained part takes; nobody's."""
    return as_seen(study, network, random_images(study, count))


def random_images(study: Study, count: int) -> torch.Tensor:
    """``count`` images of the study's shape, always the same ones; nobody's."""
    shape = (count, study.task.channels, *study.task.image_size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))
