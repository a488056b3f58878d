"""The model that round 1 starts from: random, or pretrained on examples that no patient is in."""

import hashlib
import json
import logging

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from federation.cache import Arrays, cached
from federation.messages import Parameters
from federation.models import build_network, get_parameters, head_of, set_parameters
from federation.study import PretrainingSpec, Study
from federation.tasks import Examples, load_task

log = logging.getLogger("wardround.server")

# Part of the cache's key; raise it when the code below changes what it computes.
_RECIPE = 1


def initial_model(study: Study) -> Parameters:
    """The study's initial model, float32 ``[all]``; pretraining is computed once and kept in the cache."""
    network = build_network(study.model, study.task)
    if study.pretraining.source == "random":
        return get_parameters(network)
    task = load_task(study.task.package, study.task.options)
    examples = task.public_examples(study.pretraining.examples, study.pretraining.seed)

    def pretrained() -> Arrays:
        log.info("pretraining %s on %d generated examples", study.model.name, len(examples))
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
