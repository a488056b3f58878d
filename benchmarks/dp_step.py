"""Steps of one network by one way, in a process of their own; ``benchmarks.dp`` starts it."""

import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import psutil
import torch
from monai.networks import nets
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks import job
from benchmarks.images import SIDE
from client_app.training.batches import Batch
from client_app.training.choice import quickest
from client_app.training.engines import ENGINES
from client_app.training.gradients import PatientGradients
from federation.dp_ready import make_dp_ready

WAYS = ("plain", "auto", *ENGINES)
_WARMING, _STEPS = 2, 7


class MeanScores(nn.Module):
    """A segmentation network, its maps ``[n, classes, ...]`` averaged to scores ``[n, classes]``."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images to scores."""
        maps: torch.Tensor = self.network(images)
        return maps.flatten(2).mean(2)


def small_cnn() -> nn.Module:
    """Three convolutions of 3 x 3, the first two at full size; 56,000 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.GroupNorm(8, 32),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.GroupNorm(8, 64),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.GroupNorm(8, 64),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 2),
    )


@dataclass(frozen=True)
class Case:
    """A network and a batch of patients with one image each.

    Attributes:
        build: the network as its library makes it.
        patients: in a step.
        shape: of an image.
    """

    build: Callable[[], nn.Module]
    patients: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """What a step took.

    Attributes:
        cpu: seconds of processor time, the median.
        memory: bytes beyond what the process had before the first step, at the most.
        engine: by which it went.
    """

    cpu: float
    memory: int
    engine: str


CASES: dict[str, Case] = {
    "small CNN": Case(small_cnn, 64, (1, SIDE, SIDE)),
    # With strides there is so little to compute that what a layer costs in Python shows.
    "strided CNN": Case(job.network, 64, (1, SIDE, SIDE)),
    "ResNet18-GN": Case(
        lambda: nets.resnet18(spatial_dims=2, n_input_channels=1, num_classes=2), 8, (1, 64, 64)
    ),
    "DenseNet121-GN": Case(
        lambda: nets.DenseNet121(spatial_dims=2, in_channels=1, out_channels=2), 4, (1, 64, 64)
    ),
    "UNet 3D": Case(
        lambda: MeanScores(
            nets.UNet(3, 1, 2, channels=(16, 32, 64, 128), strides=(2, 2, 2), num_res_units=2)
        ),
        2,
        (1, 32, 32, 32),
    ),
}


def measured(case: Case, way: str) -> Step:
    """Steps of ``case`` by one of ``WAYS``."""
    torch.manual_seed(0)
    network = case.build()
    make_dp_ready(network, case.shape)
    batch = Batch(
        images=torch.randn(case.patients, *case.shape),
        targets=torch.arange(case.patients) % 2,
        counted=torch.ones(case.patients, dtype=torch.bool),
    )
    engine = quickest(network, batch.images) if way == "auto" else way
    step = _step(network, batch, engine)
    before = psutil.Process().memory_info().rss
    taken = [_timed(step) for _ in range(_WARMING + _STEPS)][_WARMING:]
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Step(median(taken), max(0, most - before), engine)


def _step(network: nn.Module, batch: Batch, engine: str) -> Callable[[], object]:
    for known in ENGINES:
        if engine == known:
            gradients = PatientGradients(network, 1.0, engine=known)
            return lambda: gradients.total([batch])
    parameters = list(network.parameters())
    return lambda: torch.autograd.grad(cross_entropy(network(batch.images), batch.targets), parameters)


def _timed(step: Callable[[], object]) -> float:
    begun = time.process_time()
    step()
    return time.process_time() - begun


if __name__ == "__main__":
    torch.set_num_threads(1)
    name, chosen_way, file = sys.argv[1:]
    Path(file).write_text(json.dumps(asdict(measured(CASES[name], chosen_way))))
