"""The model that round 1 starts from: random, or pretrained on examples that no patient is in."""

import hashlib
import json
import logging
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch import nn
from torch.nn.functional import cross_entropy

from federation.errors import StorageError
from federation.files import cache_folder, write_whole
from federation.messages import Parameters
from federation.models import build_network, get_parameters
from federation.study import PretrainingSpec, Study
from federation.tasks import Examples, load_task

log = logging.getLogger("wardround.server")

# Part of the cache's key; raise it when the code below changes what it computes.
_RECIPE = 1


def initial_model(study: Study) -> Parameters:
    """The study's initial model, float32 ``[all]``.

    Pretraining is computed once; then it is read from the cache folder.
    """
    network = build_network(study.model, study.task)
    if study.pretraining.source == "random":
        return get_parameters(network)
    path = _cached(study)
    size = len(get_parameters(network))
    if path.exists():
        try:
            values = load(path.read_bytes())["parameters"]
            if values.shape == (size,) and values.dtype == np.float32 and np.isfinite(values).all():
                return values
            log.warning("%s holds another model; pretraining again", path)
        except (OSError, KeyError, SafetensorError) as error:
            log.warning("%s is corrupt (%s); pretraining again", path, error)
    log.info("pretraining %s on %d generated examples", study.model.name, study.pretraining.examples)
    task = load_task(study.task.package, study.task.options)
    examples = task.public_examples(study.pretraining.examples, study.pretraining.seed)
    pretrain(network, examples, study.pretraining)
    values = get_parameters(network)
    try:
        write_whole(path, save({"parameters": values}))
    except StorageError as error:
        log.warning("the pretrained model is not kept for next time: %s", error)
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


def _cached(study: Study) -> Path:
    parts = [study.task.package, study.task.options, study.model.model_dump(exclude={"name", "trainable"})]
    key = json.dumps([_RECIPE, *parts, study.pretraining.model_dump(mode="json")], sort_keys=True)
    name = hashlib.sha256(key.encode()).hexdigest()[:16]
    return cache_folder() / "initial_models" / f"{study.task.name}-{study.model.name}-{name}.safetensors"
