"""How a model does on held-out patients, as all that a site tells of it: how often each score occurs.

A patient's score is the highest that any of their images has: the log odds of not being healthy. A patient is
diseased if any of their images is. So each patient is in one of 2 x ``BINS`` places, however many images
they have.

Guarantee: the histogram satisfies (ε, δ) for unit = patient, adjacency = add or remove one patient, with the
noise of ``federation.promise.evaluation_noise`` and sensitivity 1 in L2. Assumption: one histogram of a study
is ever released under one secret; the custodian charges it, and gives the same one again.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import nn

from client_app.training.noise import add_noise, noise_share
from client_app.training.places import place_matters_before
from client_app.training.stream import Stream
from client_app.training.trained import only_head_is_trained
from federation.head import IMAGES_AT_ONCE, head_inputs, head_of
from federation.messages import BIN_EDGES, BINS, Parameters
from federation.models import set_parameters
from federation.promise import evaluation_noise
from federation.secure_sum.ring import encode
from federation.secure_sum.transcript import Words
from federation.study import Study
from federation.sums import evaluation_grid, share_deviation
from federation.tasks import Examples

Scores = NDArray[np.float64]

_IMAGES_AT_ONCE = 256


def scores_of(study: Study, network: nn.Module, examples: Examples, *, one_by_one: bool = False) -> Scores:
    """The probability that each image is not healthy, float64 ``[images]``.

    ``one_by_one``, no bit of a score hangs on which other images there are.
    """
    images = torch.from_numpy(examples.images)
    at_once = 1 if one_by_one else _IMAGES_AT_ONCE
    if study.model.trainable == "head":
        before = 1 if one_by_one and _may_hang_on_others(study, network) else IMAGES_AT_ONCE
        seen = head_inputs(network, study.model, images, before)
        return predict(head_of(network, study.model), seen, at_once)
    return predict(network, images, at_once)


def _may_hang_on_others(study: Study, network: nn.Module) -> bool:
    """Whether an image's features could hang on the others in a batch, though batches have one size."""
    return not only_head_is_trained(study) or place_matters_before(study, network)


def predict(network: nn.Module, images: torch.Tensor, images_at_once: int = _IMAGES_AT_ONCE) -> Scores:
    """As ``scores_of``, for what the network takes."""
    network.eval()
    with torch.inference_mode():
        batches = torch.split(images, images_at_once)
        scores = [network(batch).double().softmax(1)[:, 1:].sum(1) for batch in batches]
    network.train()
    return torch.cat(scores).numpy() if scores else np.zeros(0)


def histogram(scores: Scores, examples: Examples) -> NDArray[np.float64]:
    """How many patients have their score in each bin, float64 ``[2, BINS]``: of the healthy, of the diseased.

    ``scores`` are probabilities, ``[images]``.
    """
    numbers, rows = np.unique(examples.patients, return_inverse=True)
    score, diseased = np.zeros(len(numbers)), np.zeros(len(numbers), np.int64)
    np.maximum.at(score, rows, scores)
    np.maximum.at(diseased, rows, (examples.targets > 0).astype(np.int64))
    counts = np.zeros((2, BINS))
    np.add.at(counts, (diseased, np.digitize(score, expit(BIN_EDGES))), 1)
    return counts


def noised_histogram(
    study: Study, network: nn.Module, parameters: Parameters, examples: Examples, secret: bytes
) -> Parameters:
    """What may be told of the model ``parameters`` (float32 ``[all]``): float32 ``[2 * BINS]``."""
    counts, noise = _counted(study, network, parameters, examples), evaluation_noise(study)
    if noise is not None:
        (noised,) = add_noise([torch.from_numpy(counts)], noise, 1.0, _stream(study, secret))
        counts = noised.numpy()
    return counts.astype(np.float32)


def histogram_share(
    study: Study, network: nn.Module, parameters: Parameters, examples: Examples, secret: bytes
) -> Words:
    """The same for a secure sum, with a share of the noise where that is distributed.

    Guarantee and assumptions of a share: as for ``LocalTraining.share``, with sensitivity 1.

    Returns:
        uint32 ``[2 * BINS + 1]``.
    """
    grid, noise = evaluation_grid(study), evaluation_noise(study)
    if study.privacy.mode != "distributed" or noise is None:
        return encode(noised_histogram(study, network, parameters, examples, secret), 1, grid)
    counts = _counted(study, network, parameters, examples)
    deviation = share_deviation(study, noise, 1.0, len(counts), grid)
    return encode(counts, 1, grid, noise_share(len(counts), deviation, _stream(study, secret)))


def _counted(
    study: Study, network: nn.Module, parameters: Parameters, examples: Examples
) -> NDArray[np.float64]:
    set_parameters(network, parameters)
    # A model can put scores so close to an edge that how a larger batch rounds moves them over it.
    return histogram(scores_of(study, network, examples, one_by_one=True), examples).flatten()


def _stream(study: Study, secret: bytes) -> Stream:
    return Stream(secret, study.id, "evaluation")
