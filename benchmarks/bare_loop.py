"""The job as a loop in plain PyTorch: ``python -m benchmarks.bare_loop FOLDER``.

No federation, no configuration, no record on disk; the least that anybody could write.
"""

import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from benchmarks import job
from benchmarks.marks import Marks


def train(marks: Marks) -> NDArray[np.float32]:
    """Train every round; the last round's model, float32 ``[all]``."""
    cohorts = job.cohorts()
    sites = [(torch.from_numpy(c.train.images), torch.from_numpy(c.train.targets)) for c in cohorts]
    model = job.network()
    job.evaluate(model, cohorts)
    marks.begin()
    for _ in range(job.ROUNDS):
        local = [_locally(deepcopy(model), images, targets) for images, targets in sites]
        vector_to_parameters(torch.stack(local).mean(0), model.parameters())
        with marks.measuring():
            job.evaluate(model, cohorts)
        marks.end()
    return parameters_to_vector(model.parameters()).detach().numpy()


def _locally(model: nn.Module, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """One hospital's round; its model, float32 ``[all]``."""
    optimizer = torch.optim.SGD(model.parameters(), lr=job.RATE)
    for _ in range(job.STEPS):
        optimizer.zero_grad()
        loss = cross_entropy(model(images), targets, reduction="sum") / job.DECLARED
        torch.autograd.backward(loss)
        optimizer.step()
    return parameters_to_vector(model.parameters()).detach()


def main(folder: Path) -> None:
    """Train, and leave in ``folder`` what it took."""
    torch.set_num_threads(1)
    marks = Marks()
    model = train(marks)
    marks.write(folder, model)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
