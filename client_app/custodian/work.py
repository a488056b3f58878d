"""What the custodian computes on patients: what each kind of work costs them, and what may leave of it."""

import hashlib
from abc import ABC, abstractmethod
from functools import cached_property
from typing import ClassVar

import numpy as np

from client_app.custodian.answers import Answer
from client_app.custodian.ledger.budget import Charge
from client_app.custodian.ledger.cost import Cost, Part, evaluation_cost, training_cost
from client_app.custodian.opening import Opened
from client_app.custodian.release import Terms
from client_app.training.evaluation import histogram_share, noised_histogram
from federation.errors import DataError, MessageError
from federation.messages import (
    BINS,
    EvaluateReply,
    EvaluateRequest,
    MaskedReply,
    Reply,
    TrainReply,
    TrainRequest,
)
from federation.promise import epsilon_after
from federation.secure_sum.messages import MaskedVector, RoundRequest
from federation.secure_sum.ring import encode
from federation.study import Study
from federation.sums import training_grid


class Work(ABC):
    """One piece of work that a request asks for.

    Args:
        study: what it belongs to.
        request: what was asked.
        round_number: what the ledger charges it as; later than every one before.

    Attributes:
        part: of the cohort that pays for it.
        sum: exchange A of the secure sum that it goes into; None where it travels by itself.
    """

    part: ClassVar[Part]

    def __init__(self, study: Study, request: TrainRequest | EvaluateRequest, round_number: int) -> None:
        self.study = study
        self.round = round_number
        self.sum: RoundRequest | None = request.sum
        self._parameters = request.parameters

    @cached_property
    def asked(self) -> str:
        """SHA-256 of the model that it starts from."""
        return hashlib.sha256(self._parameters.tobytes()).hexdigest()

    def require_sound(self, opened: Opened) -> None:
        """Refuse a model that nothing should be spent on.

        Raises:
            MessageError: it is not of the study's network, or has numbers that are not finite; or what it is
                for is not as the study says.
        """
        if (self.sum is not None) != (self.study.aggregation == "secure"):
            raise MessageError(f"aggregation={self.study.aggregation}, and a question for the other kind")
        if self.sum is not None and self.sum.round != self.round_of_sum:
            raise MessageError(f"round {self.sum.round} of sums for what belongs in {self.round_of_sum}")
        size = opened.training.model_size
        if self._parameters.shape != (size,):
            raise MessageError(f"{self._parameters.shape} parameters for a network of [{size}]")
        if not np.isfinite(self._parameters).all():
            raise MessageError("the model received has parameters that are not finite")

    @property
    @abstractmethod
    def round_of_sum(self) -> int:
        """The number of the secure sum that it belongs in, so that no two kinds of work are ever added."""

    @property
    @abstractmethod
    def cost(self) -> Cost:
        """What it costs each patient of its part."""

    @property
    @abstractmethod
    def promised(self) -> float | None:
        """The ε that the whole study may cost them; None without privacy."""

    @abstractmethod
    def epsilon_after(self, steps: int) -> float | None:
        """The ε that ``steps`` steps of the study have cost them."""

    @property
    @abstractmethod
    def is_last(self) -> bool:
        """Whether the study asks nothing of its part afterwards."""

    @abstractmethod
    def compute(self, opened: Opened, before: Answer | None) -> Answer:
        """Do it; ``before`` is the last answer in this study and part.

        Raises:
            DataError: what came of it cannot be used.
        """

    @abstractmethod
    def reply(self, site: str, opened: Opened, charge: Charge, answer: Answer) -> tuple[Reply, Terms]:
        """What would leave, and what the site itself knows of it."""

    def masked_reply(
        self, site: str, opened: Opened, charge: Charge, masked: MaskedVector
    ) -> tuple[Reply, Terms]:
        """The same where it goes into a secure sum."""
        steps = charge.steps if self.part == "train" else 0
        terms = Terms(site, steps=steps, numbers=self._numbers(opened) + 1, said=masked.commitment)
        return MaskedReply.of(site, steps, masked), terms

    @abstractmethod
    def _numbers(self, opened: Opened) -> int:
        """How many numbers go into a sum."""


class Training(Work):
    """One round of a study."""

    part = "train"

    def __init__(self, study: Study, request: TrainRequest) -> None:
        super().__init__(study, request, request.round)

    @property
    def round_of_sum(self) -> int:
        """See ``Work``."""
        return self.round

    def require_sound(self, opened: Opened) -> None:
        """See ``Work``; the sum behind the last round is the evaluation's."""
        if self.sum is not None and self.round > self.study.rounds:
            raise MessageError(f"round {self.round} of a study that has {self.study.rounds}")
        super().require_sound(opened)

    @property
    def cost(self) -> Cost:
        """See ``Work``."""
        return training_cost(self.study, self.study.training.steps)

    @property
    def promised(self) -> float | None:
        """See ``Work``."""
        return self.study.privacy.epsilon

    def epsilon_after(self, steps: int) -> float | None:
        """See ``Work``."""
        return epsilon_after(self.study, steps)

    @property
    def is_last(self) -> bool:
        """See ``Work``."""
        return self.round >= self.study.rounds

    def compute(self, opened: Opened, before: Answer | None) -> Answer:
        """See ``Work``; the optimiser goes on where it was after the answer before."""
        if self.study.privacy.mode == "distributed":
            return Answer(self.round, opened.training.share(self.round, self._parameters), b"")
        state = None if before is None else before.optimizer
        trained = opened.training.run(self.round, self._parameters, state)
        if not np.isfinite(trained.update).all():
            raise DataError("training left parameters that are not finite; lower training.learning_rate")
        update, spec = trained.update, self.study.secure_sum
        if spec is None:
            return Answer(self.round, update, trained.optimizer_state)
        weight = min(opened.takers.declared, spec.weight_cap)
        words = encode(update, weight, training_grid(self.study, len(update)))
        return Answer(self.round, words, trained.optimizer_state)

    def reply(self, site: str, opened: Opened, charge: Charge, answer: Answer) -> tuple[Reply, Terms]:
        """See ``Work``."""
        reply = TrainReply(site=site, round=self.round, steps=charge.steps, parameters=answer.released)
        return reply, Terms(site, trainable=opened.training.trainable, steps=charge.steps)

    def _numbers(self, opened: Opened) -> int:
        return opened.training.trainable


class Evaluation(Work):
    """The one evaluation of a study."""

    part = "test"

    def __init__(self, study: Study, request: EvaluateRequest, secret: bytes) -> None:
        super().__init__(study, request, 1)
        self._secret = secret

    @property
    def round_of_sum(self) -> int:
        """See ``Work``; behind all rounds, so that the same counts are in one sum and no other."""
        return self.study.rounds + 1

    @property
    def cost(self) -> Cost:
        """See ``Work``."""
        return evaluation_cost(self.study)

    @property
    def promised(self) -> float | None:
        """See ``Work``."""
        return None if self.study.evaluation is None else self.study.evaluation.epsilon

    def epsilon_after(self, steps: int) -> float | None:  # noqa: ARG002
        """See ``Work``; there is one step."""
        return self.promised

    @property
    def is_last(self) -> bool:
        """See ``Work``."""
        return True

    def compute(self, opened: Opened, before: Answer | None) -> Answer:  # noqa: ARG002
        """See ``Work``."""
        told = noised_histogram if self.sum is None else histogram_share
        counts = told(self.study, opened.network, self._parameters, opened.held_out(), self._secret)
        return Answer(self.round, counts, b"")

    def reply(self, site: str, opened: Opened, charge: Charge, answer: Answer) -> tuple[Reply, Terms]:  # noqa: ARG002
        """See ``Work``."""
        healthy, diseased = answer.released.astype(np.float32).reshape(2, BINS).tolist()
        reply = EvaluateReply(site=site, healthy=tuple(healthy), diseased=tuple(diseased))
        return reply, Terms(site, counts=tuple(healthy + diseased), noised=self.promised is not None)

    def _numbers(self, opened: Opened) -> int:  # noqa: ARG002
        return 2 * BINS
