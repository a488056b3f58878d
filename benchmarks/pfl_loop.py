"""The job by Apple's pfl, in the environment of its own: ``python -m benchmarks.pfl_loop FOLDER``."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pfl.aggregate.simulate import SimulatedBackend  # type: ignore[import-not-found]
from pfl.algorithm.base import NNAlgorithmParams  # type: ignore[import-not-found]
from pfl.algorithm.federated_averaging import FederatedAveraging  # type: ignore[import-not-found]
from pfl.callback.base import TrainingProcessCallback  # type: ignore[import-not-found]
from pfl.data.dataset import Dataset  # type: ignore[import-not-found]
from pfl.data.federated_dataset import FederatedDataset  # type: ignore[import-not-found]
from pfl.data.sampling import get_user_sampler  # type: ignore[import-not-found]
from pfl.hyperparam import NNTrainHyperParams  # type: ignore[import-not-found]
from pfl.metrics import Metrics  # type: ignore[import-not-found]
from pfl.model.pytorch import PyTorchModel  # type: ignore[import-not-found]
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import parameters_to_vector

from benchmarks import job
from benchmarks.marks import Marks
from federation.tasks import Cohort


class Trainable(nn.Module):
    """The job's network as pfl wants it."""

    def __init__(self) -> None:
        super().__init__()
        self.network = job.network()

    def loss(self, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The loss of a step; pfl makes every array one of floats."""
        return cross_entropy(self.network(images), targets.long(), reduction="sum") / job.DECLARED

    def metrics(self, images: torch.Tensor, targets: torch.Tensor) -> dict[str, Any]:  # noqa: ARG002
        """Nothing of each hospital: the job measures the global model, which the callback does."""
        return {}


class Measuring(TrainingProcessCallback):  # type: ignore[misc]
    """Measures the model after each round."""

    def __init__(self, cohorts: list[Cohort], marks: Marks) -> None:
        self._cohorts = cohorts
        self._marks = marks

    def on_train_begin(self, *, model: Any) -> Any:
        """Measure the initial model; the rounds come next."""
        job.evaluate(model.pytorch_model.network, self._cohorts)
        self._marks.begin()
        return Metrics()

    def after_central_iteration(
        self,
        aggregate_metrics: Any,  # noqa: ARG002
        model: Any,
        *,
        central_iteration: int,  # noqa: ARG002
    ) -> tuple[bool, Any]:
        """Measure a round's model."""
        with self._marks.measuring():
            job.evaluate(model.pytorch_model.network, self._cohorts)
        self._marks.end()
        return False, Metrics()


def train(marks: Marks) -> NDArray[np.float32]:
    """Train every round; the last round's model, float32 ``[all]``."""
    cohorts = job.cohorts()
    data = {
        site: Dataset([cohort.train.images, cohort.train.targets], user_id=site)
        for site, cohort in enumerate(cohorts)
    }
    sites = FederatedDataset(data.__getitem__, get_user_sampler("minimize_reuse", list(data)))
    trainable = Trainable()
    model = PyTorchModel(trainable, torch.optim.SGD, torch.optim.SGD(trainable.parameters(), lr=1.0))
    FederatedAveraging().run(
        NNAlgorithmParams(
            central_num_iterations=job.ROUNDS,
            evaluation_frequency=job.ROUNDS,
            train_cohort_size=job.SITES,
            val_cohort_size=None,
        ),
        SimulatedBackend(training_data=sites, val_data=sites),
        model,
        NNTrainHyperParams(local_num_epochs=job.STEPS, local_learning_rate=job.RATE, local_batch_size=None),
        callbacks=[Measuring(cohorts, marks)],
        send_metrics_to_platform=False,
    )
    return parameters_to_vector(trainable.network.parameters()).detach().numpy()


def main(folder: Path) -> None:
    """Train, and leave in ``folder`` what it took."""
    torch.set_num_threads(1)
    marks = Marks()
    model = train(marks)
    marks.write(folder, model)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
