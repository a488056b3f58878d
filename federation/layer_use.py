"""What each layer of a network sees of an image, found by running the network.

A patient's gradient is read at a layer: from what went in and from the gradient of what came out, image by
image. That is right only where the first dimension of what went in counts images, where the layer is used
once for an image, and where a rule for its kind is known. Parameters outside a layer have no such place.
Names of classes would tell some of it of some networks; a run tells it of every network.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from federation.errors import ConfigError

# The kinds whose per-patient gradients the tests hold against autograd; a subclass may compute otherwise.
_KINDS = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.PReLU,
)

# For each layer that was used, the first dimension of what went in, use by use.
Rows = dict[str, list[int]]


@torch.enable_grad()  # whatever the caller's mode is
def freeze_unreadable(network: nn.Module, shape: tuple[int, ...]) -> list[str]:
    """Freeze the parameters that take no part in the scores, and those that stand outside a layer.

    Args:
        network: images ``[n, *shape]`` to scores, or to any nest of tensors.
        shape: of one image.

    Returns:
        What was frozen, for people.

    Raises:
        ConfigError: a layer that learns has no per-patient gradients, or nothing is left that could learn.
    """
    layers = {name: layer for name, layer in network.named_modules() if _is_layer(layer)}
    of_one, _ = _run(network, layers, shape, images=1)
    of_two, outputs = _run(network, layers, shape, images=2)
    changes = [
        _freeze(network, _unused(network, outputs), "take no part in the scores"),
        _freeze(network, _outside(network, [layers[name] for name in of_two]), "stand outside a layer"),
    ]
    told = [change for change in changes if change]
    if not any(p.requires_grad for p in network.parameters()):
        raise ConfigError(f"the network has no trainable parameter {told or ''}; choose another")
    _refuse_shared(network)
    for name, layer in layers.items():
        if _learning(layer):
            _refuse_unreadable(name, layer, [of_one[name], of_two[name]])
    return told


def _learning(module: nn.Module) -> list[nn.Parameter]:
    """The parameters of ``module`` itself that learn."""
    return [p for p in module.parameters(recurse=False) if p.requires_grad]


def _is_layer(module: nn.Module) -> bool:
    return bool(_learning(module)) and not any(module.children())


def _run(
    network: nn.Module, layers: Mapping[str, nn.Module], shape: tuple[int, ...], images: int
) -> tuple[Rows, list[torch.Tensor]]:
    """Run random images through ``network``, hooked as where per-patient gradients are read."""
    rows: Rows = {}
    hooks: list[Any] = []
    for name, layer in layers.items():
        hooks.append(layer.register_forward_hook(_counting(rows, name)))
        hooks.append(layer.register_full_backward_hook(lambda *_: None))
    try:
        with torch.enable_grad():
            # Images that need a gradient keep torch from warning about hooks of the first layer.
            given = torch.randn(images, *shape, generator=torch.Generator().manual_seed(0))
            outputs = tensors_in(network(given.requires_grad_()))
            return rows, [output for output in outputs if output.requires_grad]
    except RuntimeError as error:
        if "modified inplace" not in str(error):
            raise
        raise ConfigError(
            "the network changes in place what a layer gave, so its per-patient gradients cannot be read; "
            f"choose another, or give its block a forward in federation/out_of_place.py: {error}"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()


def _counting(rows: Rows, name: str) -> Any:
    def note(_layer: nn.Module, given: tuple[torch.Tensor, ...], _out: torch.Tensor) -> None:
        rows.setdefault(name, []).append(len(given[0]) if given else 0)

    return note


def tensors_in(output: Any) -> Iterator[torch.Tensor]:
    """Every tensor in what a network gives: a tensor, or a nest of lists, tuples and dictionaries."""
    if isinstance(output, torch.Tensor):
        yield output
    elif isinstance(output, (list, tuple, dict)):
        for part in output.values() if isinstance(output, dict) else output:
            yield from tensors_in(part)


def _unused(network: nn.Module, outputs: list[torch.Tensor]) -> set[int]:
    """Parameters, by ``id``, that no output depends on."""
    learning = [p for p in network.parameters() if p.requires_grad]
    if not learning or not outputs:
        return {id(p) for p in learning}
    total = torch.stack([output.float().sum() for output in outputs]).sum()
    gradients = torch.autograd.grad(total, learning, allow_unused=True)
    return {id(p) for p, gradient in zip(learning, gradients, strict=True) if gradient is None}


def _outside(network: nn.Module, used: list[nn.Module]) -> set[int]:
    """Parameters, by ``id``, that belong to none of the layers that were ``used``."""
    inside = {id(p) for layer in used for p in _learning(layer)}
    return {id(p) for p in network.parameters()} - inside


def _freeze(network: nn.Module, chosen: set[int], why: str) -> str:
    names = []
    for name, parameter in network.named_parameters():
        if id(parameter) in chosen and parameter.requires_grad:
            parameter.requires_grad_(False)
            names.append(name)
    return f"{len(names)} parameters frozen, which {why}: {', '.join(names)}" if names else ""


def _refuse_unreadable(name: str, layer: nn.Module, rows: list[list[int]]) -> None:
    kind = type(layer).__name__
    padding = getattr(layer, "padding_mode", "zeros")
    if type(layer) not in _KINDS:
        reason = "for which no rule of per-patient gradients is known"
    elif padding != "zeros":
        reason = f"whose padding_mode={padding!r} makes its per-patient gradients wrong"
    elif len(rows[0]) > 1:
        reason = f"which is used {len(rows[0])} times for an image, so its gradients add up"
    elif rows != [[1], [2]]:
        reason = (
            f"which gets {rows[1][0]} rows for 2 images, so parts of images, such as windows, are folded "
            "into the batch and no patient's gradient stands alone"
        )
    else:
        return
    raise ConfigError(f"{name} is a {kind}, {reason}; choose another network or other model.arguments")


def _refuse_shared(network: nn.Module) -> None:
    names: dict[int, str] = {}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        first = names.setdefault(id(parameter), name)
        if parameter.requires_grad and first != name:
            raise ConfigError(
                f"{first} and {name} are one parameter, so its gradients would add up or be counted twice; "
                "choose another network"
            )
