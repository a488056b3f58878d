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
from client_app.training.evaluation import noised_histogram
from federation.errors import DataError, MessageError
from federation.messages import BINS, EvaluateReply, EvaluateRequest, Reply, TrainReply, TrainRequest
from federation.promise import epsilon_after
from federation.study import Study


class Work(ABC):
    """One piece of work that a request asks for.

    Args:
        study: what it belongs to.
        request: what was asked.
        round_number: what the ledger charges it as; later than every one before.

    Attributes:
        part: of the cohort that pays for it.
    """

    part: ClassVar[Part]

    def __init__(self, study: Study, request: TrainRequest | EvaluateRequest, round_number: int) -> None:
        self.study = study
        self.round = round_number
        self._parameters = request.parameters

    @cached_property
    def asked(self) -> str:
        """SHA-256 of the model that it starts from."""
        return hashlib.sha256(self._parameters.tobytes()).hexdigest()

    def require_sound(self, opened: Opened) -> None:
        """Refuse a model that nothing should be spent on.

        Raises:
            MessageError: it is not of the study's network, or has numbers that are not finite.
        """
        size = opened.training.model_size
        if self._parameters.shape != (size,):
            raise MessageError(f"{self._parameters.shape} parameters for a network of [{size}]")
        if not np.isfinite(self._parameters).all():
            raise MessageError("the model received has parameters that are not finite")

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


class Training(Work):
    """One round of a study."""

    part = "train"

    def __init__(self, study: Study, request: TrainRequest) -> None:
        super().__init__(study, request, request.round)

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
        state = None if before is None else before.optimizer
        trained = opened.training.run(self.round, self._parameters, state)
        if not np.isfinite(trained.update).all():
            raise DataError("training left parameters that are not finite; lower training.learning_rate")
        return Answer(self.round, trained.update, trained.optimizer_state)

    def reply(self, site: str, opened: Opened, charge: Charge, answer: Answer) -> tuple[Reply, Terms]:
        """See ``Work``."""
        reply = TrainReply(site=site, round=self.round, steps=charge.steps, parameters=answer.released)
        return reply, Terms(site, trainable=opened.training.trainable, steps=charge.steps)


class Evaluation(Work):
    """The one evaluation of a study."""

    part = "test"

    def __init__(self, study: Study, request: EvaluateRequest, secret: bytes) -> None:
        super().__init__(study, request, 1)
        self._secret = secret

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
        counts = noised_histogram(
            self.study, opened.network, self._parameters, opened.held_out(), self._secret
        )
        return Answer(self.round, counts, b"")

    def reply(self, site: str, opened: Opened, charge: Charge, answer: Answer) -> tuple[Reply, Terms]:  # noqa: ARG002
        """See ``Work``."""
        healthy, diseased = answer.released.reshape(2, BINS).tolist()
        reply = EvaluateReply(site=site, healthy=tuple(healthy), diseased=tuple(diseased))
        return reply, Terms(site, counts=tuple(healthy + diseased), noised=self.promised is not None)
