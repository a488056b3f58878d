"""The last layer apart from the rest: where only the head learns, the rest need be computed only once."""

import hashlib
from collections import OrderedDict
from threading import Lock

import torch
from torch import nn

from federation.networks import NETWORKS
from federation.study import ModelSpec

IMAGES_AT_ONCE = 32
# Bytes that are remembered: of hundreds of hospitals, or one of them would push out the next.
_REMEMBERED = 256 * 2**20

_lock = Lock()
_seen: OrderedDict[bytes, torch.Tensor] = OrderedDict()


def head_of(network: nn.Module, model: ModelSpec) -> nn.Module:
    """The part of a network from ``build_network`` behind its last features."""
    return network.get_submodule(NETWORKS[model.network].head)


def head_inputs(
    network: nn.Module, model: ModelSpec, images: torch.Tensor, images_at_once: int = IMAGES_AT_ONCE
) -> torch.Tensor:
    """What the head gets to see of ``images``: ``head_of(...)`` makes the network's scores of it.

    The same images through the same layers are computed once in a process. Batches are always of
    ``images_at_once``, so that no image's features depend, in their last bits, on how many others there are.
    """
    key = _fingerprint(network, model, images, images_at_once)
    with _lock:
        if key in _seen:
            _seen.move_to_end(key)
            return _seen[key]
    features = _computed(network, model, images, images_at_once)
    with _lock:
        _seen[key] = features
        while sum(held.nbytes for held in _seen.values()) > _REMEMBERED:
            _seen.popitem(last=False)
    return features


def _computed(
    network: nn.Module, model: ModelSpec, images: torch.Tensor, images_at_once: int
) -> torch.Tensor:
    seen: list[torch.Tensor] = []
    hook = head_of(network, model).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        with torch.no_grad():
            for batch in torch.split(images, images_at_once):
                network(torch.cat([batch, batch[:1].expand(images_at_once - len(batch), *batch.shape[1:])]))
    finally:
        hook.remove()
    return torch.cat(seen)[: len(images)]


def _fingerprint(network: nn.Module, model: ModelSpec, images: torch.Tensor, images_at_once: int) -> bytes:
    """Everything that what the head sees follows from."""
    settings = (model.network, sorted(model.arguments.items()), images.shape, images_at_once)
    digest = hashlib.sha256(repr(settings).encode())
    digest.update(images.contiguous().numpy().data)
    head = {id(parameter) for parameter in head_of(network, model).parameters()}
    for parameter in network.parameters():
        if id(parameter) not in head:
            digest.update(parameter.detach().contiguous().numpy().data)
    return digest.digest()
