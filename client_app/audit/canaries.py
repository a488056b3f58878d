"""Canaries: synthetic patients of whom each has a coordinate of the model to itself.

They are trained on by the study's own code from end to end: sampling, per-patient gradients, clipping, noise
and optimiser are those of ``client_app.training``. Only the network is a stand-in: one linear layer of two
classes. Its patient number i is an image that is zero but for number i, so that at a model of zeros the
gradient is (-x, x) / 2 at that number's two weights and, next to that, nothing: a Dirac. x is so large that
every canary is clipped, and moves the sum by all that it may.

No patient's data are touched, and no budget is spent.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from client_app.site import EngineName, Resources
from client_app.training.batches import Patients
from client_app.training.local_round import LocalTraining
from federation.messages import Parameters
from federation.models import build_network
from federation.secure_sum.transcript import Words
from federation.study import ModelSpec, PrivacySpec, Study, TaskSpec, TrainingSpec
from federation.tasks import Examples

CANARIES = 5000
# Where one run proves most: every patient in the step, and noise for this promise.
_EPSILON, _DELTA = 3.0, 1e-5
# Far above any clipping norm.
_BRIGHTNESS = 100.0


@dataclass(frozen=True)
class Layer:
    """A layer with room for so many canaries, trained under the promise of a study.

    Attributes:
        study: one round of ``steps`` steps on the layer.
        canaries: how many there can be.
        size: how many numbers the layer has.
        engine: by which it is trained.
    """

    study: Study
    canaries: int
    size: int
    engine: EngineName

    def train(
        self, secret: bytes, present: NDArray[np.bool_] | None = None, round_number: int = 1
    ) -> NDArray[np.float64]:
        """The sum that a round releases, float64 ``[size]``, in units of the clipping norm.

        Args:
            secret: of the site that trains.
            present: bool ``[canaries]``, which of them are patients; nobody where it is left out.
            round_number: noise is another in each.
        """
        who = np.flatnonzero(np.zeros(self.canaries) if present is None else present)
        update = self._training(secret, who).run(round_number, self._zeros, None).update
        # One step of gradient descent with rate one goes down the released sum over q times all canaries.
        privacy = self.study.privacy
        scale = privacy.sampling_rate * self.canaries / (privacy.clipping_norm or 1.0)
        return np.asarray(-scale * update, dtype=np.float64)

    def share(self, secret: bytes, who: NDArray[np.int64] | None = None, round_number: int = 1) -> Words:
        """What a site puts into a secure sum in a round, uint32 ``[size + 1]``.

        Args:
            secret: of the site.
            who: int64 ``[patients]``, which canary each patient is, several of them perhaps the same one;
                nobody where it is left out.
            round_number: as in ``train``.
        """
        training = self._training(secret, np.zeros(0, dtype=np.int64) if who is None else who)
        return training.share(round_number, self._zeros)

    def scores(self, released: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far the sum was moved in each canary's direction, float64 ``[canaries]``: 1 if it is in."""
        absent, present = np.split(released[: 2 * self.canaries], 2)
        scores: NDArray[np.float64] = (absent - present) / math.sqrt(2)
        return scores

    @property
    def _zeros(self) -> Parameters:
        return np.zeros(self.size, dtype=np.float32)

    def _training(self, secret: bytes, who: NDArray[np.int64]) -> LocalTraining:
        return LocalTraining(
            study=self.study,
            network=build_network(self.study.model, self.study.task),
            patients=Patients(self._examples(who)),
            expected_patients=self.canaries,
            secret=secret,
            resources=Resources(engine=self.engine),
        )

    def _examples(self, who: NDArray[np.int64]) -> Examples:
        images = np.zeros((len(who), self.canaries), dtype=np.float32)
        brightness = _BRIGHTNESS * max(1.0, self.study.privacy.clipping_norm or 1.0)
        patients = np.arange(len(who))
        images[patients, who] = brightness
        return Examples(images, np.ones_like(patients), patients, covariates={})


def rehearsal_promise(study: Study) -> PrivacySpec:
    """The promise under which canaries are looked for: the study's clipping, but ε = 3 in one full step."""
    values = {"epsilon": _EPSILON, "delta": _DELTA, "sampling_rate": 1.0}
    return study.privacy.model_copy(update=values)


def canary_layer(study: Study, privacy: PrivacySpec, engine: EngineName, *, rounds: int, steps: int) -> Layer:
    """The layer for ``CANARIES`` canaries of ``study``, with another promise and length.

    Args:
        study: whose other settings are kept.
        privacy: the promise, from which the noise follows.
        engine: by which it is trained.
        rounds: how often the promise is drawn on.
        steps: steps a round.
    """
    changed = study.model_copy(
        update={
            "task": TaskSpec(
                name="canaries",
                package="none",
                classes=("absent", "present"),
                channels=CANARIES,
                image_size=(),
            ),
            "model": ModelSpec(
                name="canaries", network="monai.FullyConnectedNet", arguments={"hidden_channels": ()}
            ),
            "privacy": privacy,
            "strategy": study.strategy.model_copy(update={"proximal": None}),
            "training": TrainingSpec(steps=steps, learning_rate=1.0),
            "rounds": rounds,
        }
    )
    return Layer(study=changed, canaries=CANARIES, size=2 * CANARIES + 2, engine=engine)
