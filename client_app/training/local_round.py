"""One round of training at a site: DP-SGD, or SGD where the study promises no privacy.

Abadi et al. 2016 (1607.00133), Algorithm 1, with the patient as the unit: each step samples patients, sums
their clipped gradients, adds Gaussian noise and divides by the expected number of patients. A step without
patients is noise alone.

Where noise is distributed a round is one step, of which a site gives its patients' clipped gradients and a
share of the noise into a secure sum (docs/decisions/0010).

Guarantee: the steps of a whole study together satisfy (ε, δ) for unit = patient, adjacency = add or remove
one patient, as ``federation.accounting`` composes (noise multiplier, sampling rate, steps); of shares,
``federation.promise.seen`` says what stands before whom. Assumption: no two releases share a (round, step) of
one study under one secret; the custodian burns round numbers for that.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from client_app.site import Resources
from client_app.training.augmentation import augmented
from client_app.training.batch_size import batch_size
from client_app.training.batches import Batch, Patients, sample_patients
from client_app.training.choice import engine_for
from client_app.training.conformance import IMAGES, check_engine
from client_app.training.gradients import PatientGradients, cross_entropies
from client_app.training.noise import add_noise, noise_share
from client_app.training.places import place_matters, place_matters_before
from client_app.training.stream import Stream
from client_app.training.trained import as_seen, random_examples, trained_part
from federation.errors import PrivacyError
from federation.head import IMAGES_AT_ONCE
from federation.messages import Parameters
from federation.models import get_parameters, layout_of, set_parameters
from federation.optimizers import make_optimizer, pack_state, unpack_state
from federation.promise import noise_multiplier
from federation.secure_sum.ring import encode
from federation.secure_sum.transcript import Words
from federation.study import Study
from federation.sums import share_deviation, training_grid

log = logging.getLogger("wardround.training")


@dataclass(frozen=True)
class LocalRound:
    """What a round gives.

    Attributes:
        update: the change of the trainable parameters, float32 ``[trainable]``.
        optimizer_state: what the optimiser remembers, for the next round.
    """

    update: Parameters
    optimizer_state: bytes


class LocalTraining:
    """A site's training for one study; network and patients stay in memory between rounds.

    Args:
        study: what to do.
        network: the study's network; its parameters are overwritten each round.
        patients: the site's training patients.
        expected_patients: the public cohort size that stands in the denominator.
        secret: the site's secret, source of noise and sampling.
        resources: what the machine spends on it.

    Raises:
        PrivacyError: no engine keeps the promise on this network.
    """

    def __init__(
        self,
        study: Study,
        network: nn.Module,
        patients: Patients,
        expected_patients: int,
        secret: bytes,
        *,
        resources: Resources | None = None,
    ) -> None:
        self._study = study
        self._network = network
        self._patients = patients
        self._seen = patients
        self._expected = study.privacy.sampling_rate * expected_patients
        self._secret = secret
        self._noise = noise_multiplier(study)
        layout = layout_of(network)
        self._mask, self._trainable = layout.mask, layout.trainable_size
        self._gradients = self._checked_gradients(resources or Resources())
        self._images_at_once = self._size_of_batches()
        self._images_at_once_before = 1 if place_matters_before(study, network) else IMAGES_AT_ONCE

    def _checked_gradients(self, resources: Resources) -> PatientGradients:
        """The engine that the site chose, after it has shown on random images that it keeps the promise."""
        study, trained = self._study, trained_part(self._study, self._network)
        engine = engine_for(study, self._network, resources)
        weights, norm = study.training.class_weights, study.privacy.clipping_norm

        def make(clipping_norm: float | None) -> PatientGradients:
            return PatientGradients(trained, clipping_norm, weights, engine, resources.memory_mib)

        if norm is not None:
            check_engine(
                make,
                trained,
                images=random_examples(study, self._network, IMAGES),
                losses=cross_entropies(weights),
                clipping_norm=norm,
                name=engine,
            )
        return make(norm)

    def _size_of_batches(self) -> int:
        """How many of the patients' images go through the network at once; the same in every step."""
        study, trained = self._study, trained_part(self._study, self._network)
        views = 1 if study.training.augmentation is None else study.training.augmentation.views
        most = max(1, self._gradients.images_at_once // views)
        if study.privacy.clipping_norm is None:
            return min(most, len(self._patients.images))
        size = batch_size(
            trained,
            random_examples(study, self._network, views),
            expected=self._expected,
            sampling_rate=study.privacy.sampling_rate,
            most=most,
        )
        if place_matters(self._gradients, trained, random_examples(study, self._network, size * views)):
            log.info("places in a batch matter to this network; patients go through it one by one")
            return 1
        return size

    @property
    def model_size(self) -> int:
        """How many parameters the whole model has."""
        return len(self._mask)

    @property
    def trainable(self) -> int:
        """How many of them learn, which is the length of an update."""
        return self._trainable

    def run(self, round_number: int, start: Parameters, optimizer_state: bytes | None) -> LocalRound:
        """Train from ``start`` (float32 ``[all]``) for the study's steps of one round.

        Raises:
            PrivacyError: the study distributes its noise, so that no site has an update that may leave.
        """
        if self._study.privacy.mode == "distributed":
            raise PrivacyError(
                f"study {self._study.name} has privacy=distributed: a site gives it shares for its sums and "
                "no update; ask for those, or choose privacy=local"
            )
        set_parameters(self._network, start)
        self._seen = self._what_is_trained_on()
        trained = self._gradients.parameters
        anchor = [p.detach().clone() for p in trained]
        optimizer = make_optimizer(self._study.training, trained)
        if optimizer_state is not None:
            unpack_state(optimizer, optimizer_state)
        for step in range(self._study.training.steps):
            self._step(optimizer, anchor, (self._study.id, round_number, step))
        update = (get_parameters(self._network) - start)[self._mask]
        return LocalRound(update=update, optimizer_state=pack_state(optimizer))

    def share(self, round_number: int, start: Parameters) -> Words:
        """This site's part of one step from ``start`` (float32 ``[all]``), for a secure sum.

        The sum of its patients' clipped gradients, each coordinate clipped to the grid and rounded, and then
        its share of the noise, which is whole numbers: uint32 ``[trainable + 1]``.

        Guarantee: with those of the other sites that the study counts on, the noise of ``noise_multiplier``
        (unit = patient, adjacency = add or remove one patient). Assumption: they add theirs, and what leaves
        is masked, so that nobody sees this by itself.

        Raises:
            PrivacyError: the study does not distribute its noise.
        """
        study, norm = self._study, self._study.privacy.clipping_norm
        if study.privacy.mode != "distributed" or self._noise is None or norm is None:
            raise PrivacyError(f"privacy={study.privacy.mode} has no shares of noise")
        set_parameters(self._network, start)
        self._seen = self._what_is_trained_on()
        address = (study.id, round_number, 0)
        total = torch.cat([part.detach().flatten() for part in self._sum_of_gradients(address)])
        grid = training_grid(study, self.trainable)
        deviation = share_deviation(study, self._noise, norm, self.trainable, grid)
        noise = noise_share(self.trainable, deviation, Stream(self._secret, *address, "noise"))
        return encode(total.double().numpy(), 1, grid, noise)

    def _sum_of_gradients(self, address: tuple[str, int, int]) -> list[torch.Tensor]:
        """Of the patients of one step, each clipped."""
        rate = self._study.privacy.sampling_rate
        chosen = sample_patients(Stream(self._secret, *address, "sampling"), len(self._patients), rate)
        return self._gradients.total(self._batches(chosen, address))

    def _what_is_trained_on(self) -> Patients:
        """The images, or what the head sees of them."""
        images, at_once = self._patients.images, self._images_at_once_before
        return self._patients.seen_as(as_seen(self._study, self._network, images, at_once))

    def _step(
        self,
        optimizer: torch.optim.Optimizer,
        anchor: list[torch.Tensor],
        address: tuple[str, int, int],
    ) -> None:
        sums = self._with_noise(self._sum_of_gradients(address), address)
        pull = self._study.strategy.proximal or 0.0
        for p, total, start in zip(self._gradients.parameters, sums, anchor, strict=True):
            p.grad = (total / self._expected).to(p.dtype) + pull * (p.detach() - start)
        optimizer.step()
        optimizer.zero_grad()

    def _batches(self, chosen: NDArray[np.int64], address: tuple[str, int, int]) -> Iterator[Batch]:
        """What a step learns from: the chosen patients' images, as the study wants them shown."""
        training, seen = self._study.training, self._seen
        if training.patient_images == "one":
            seen = seen.one_image_each(Stream(self._secret, *address, "images"))
        moves = Stream(self._secret, *address, "moves")
        for batch in seen.batches(chosen, self._images_at_once):
            yield batch if training.augmentation is None else augmented(batch, training.augmentation, moves)

    def _with_noise(self, totals: list[torch.Tensor], address: tuple[str, int, int]) -> list[torch.Tensor]:
        clipping_norm = self._study.privacy.clipping_norm
        if self._noise is None or clipping_norm is None:
            return totals
        return add_noise(totals, self._noise, clipping_norm, Stream(self._secret, *address, "noise"))
