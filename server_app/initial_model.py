"""The model that round 1 starts from: random, or pretrained on examples that no patient is in."""

import hashlib
import json
import logging
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from federation.cache import Arrays, cached
from federation.errors import ConfigError
from federation.head import head_of
from federation.messages import Parameters
from federation.models import build_network, get_parameters, set_parameters
from federation.scattering import ScatteringClassifier
from federation.stored_models import StoredModel
from federation.study import PretrainingSpec, Study
from federation.tasks import Examples, load_task
from server_app.library import find_model
from server_app.noise_images import noise_images

log = logging.getLogger("wardround.server")

# Part of the cache's key; raise it when the code below changes what it computes.
_RECIPE = 2


def initial_model(study: Study, models: Path = Path("runs")) -> Parameters:
    """The study's initial model, float32 ``[all]``; pretraining is computed once and kept in the cache.

    Args:
        study: names the model that it starts from, or says how to make one.
        models: below which folder the named one is.

    Raises:
        ConfigError: the network cannot be pretrained in this way, or the model that the study names is not
            there, or of another network.
        DataError: the task generates no examples, or the file of the named model was changed.
    """
    network = build_network(study.model, study.task)
    if study.start_from is not None:
        return _earlier_model(study, find_model(models, study.start_from))
    if study.pretraining.source == "random":
        return get_parameters(network)
    examples = _public_examples(study)

    def pretrained() -> Arrays:
        log.info("pretraining %s on %d generated examples", study.model.name, len(examples))
        if study.pretraining.source == "noise":
            _fit_statistics(network, examples, study)
        else:
            pretrain(network, examples, study.pretraining)
        return {"parameters": get_parameters(network)}

    name = f"initial-{study.task.name}-{study.model.name}"
    values = cached(name, _version(study, examples), pretrained)["parameters"].astype(np.float32)
    if study.pretraining.keep == "features":
        set_parameters(network, values)
        for parameter in head_of(network, study.model).parameters():
            parameter.detach().zero_()
        values = get_parameters(network)
    return values


def _earlier_model(study: Study, earlier: StoredModel) -> Parameters:
    made, wanted = (
        (
            each.model.network,
            each.model.arguments,
            each.task.classes,
            each.task.channels,
            each.task.image_size,
        )
        for each in (earlier.study, study)
    )
    if made != wanted:
        raise ConfigError(
            f"start_from={study.start_from}: it is a model of {made}, and this study trains {wanted}"
        )
    return earlier.parameters()


def _public_examples(study: Study) -> Examples:
    """What nobody's data went into: the task's phantoms, or noise with the spectrum of natural images."""
    spec = study.pretraining
    if spec.source == "phantom":
        return load_task(study.task.package, study.task.options).public_examples(spec.examples, spec.seed)
    images = noise_images(spec.examples, study.task.image_size, spec.seed).numpy()
    numbers = np.arange(len(images))
    return Examples(images=images, targets=np.zeros_like(numbers), patients=numbers, covariates={})


def _fit_statistics(network: nn.Module, examples: Examples, study: Study) -> None:
    if not isinstance(network, ScatteringClassifier):
        raise ConfigError(
            f"pretraining.source=noise gives statistics to networks that compute their features, and "
            f"{study.model.network} is none; choose random or phantom"
        )
    try:
        network.fit(torch.from_numpy(examples.images))
    except ValueError as error:
        raise ConfigError(f"pretraining.examples={len(examples)}: {error}") from error


def pretrain(network: nn.Module, examples: Examples, spec: PretrainingSpec) -> None:
    """Train every parameter of ``network`` on public examples, in place and repeatably."""
    learning = [p.requires_grad for p in network.parameters()]
    network.requires_grad_(True)
    optimizer = torch.optim.Adam(network.parameters(), lr=spec.learning_rate)
    images, targets = torch.from_numpy(examples.images), torch.from_numpy(examples.targets)
    shuffle = np.random.default_rng(spec.seed)
    for epoch in range(spec.epochs):
        for group in optimizer.param_groups:
            group["lr"] = spec.learning_rate * (1 - epoch / spec.epochs)
        for chosen in np.array_split(
            shuffle.permutation(len(examples)), len(examples) // spec.batch_size or 1
        ):
            optimizer.zero_grad()
            loss = cross_entropy(network(images[chosen]), targets[chosen])
            torch.autograd.backward(loss)
            optimizer.step()
    for parameter, learns in zip(network.parameters(), learning, strict=True):
        parameter.grad = None
        parameter.requires_grad_(learns)


def _version(study: Study, examples: Examples) -> str:
    """Everything that the pretrained weights follow from."""
    model = study.model.model_dump(mode="json", exclude={"name", "trainable"})
    recipe = [_RECIPE, torch.__version__, model, study.pretraining.model_dump(mode="json", exclude={"keep"})]
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode())
    digest.update(examples.images.tobytes())
    digest.update(examples.targets.tobytes())
    return digest.hexdigest()
