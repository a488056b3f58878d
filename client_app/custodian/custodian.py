"""The custodian: answers a few typed requests, and checks before it computes.

The order: does the policy allow the study, was its protection rehearsed (before any data are opened), does
the policy allow the cohort, is the model sound, is the round unspent (charged on disk), then train, then is
the result sound, and only then release it. One request at a time.
"""

import hashlib
import logging
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Literal

import numpy as np

from client_app.audit.rehearsal import require_rehearsal
from client_app.custodian.policy import Facts, decide
from client_app.custodian.state import Answer, StudyState
from client_app.data.cohort import load_cohort
from client_app.site import SiteConfig
from client_app.training.batches import Patients
from client_app.training.choice import engine_for
from client_app.training.local_round import LocalTraining
from federation.errors import DataError, MessageError, RefusedError, WardroundError
from federation.messages import (
    DescribeReply,
    DescribeRequest,
    Parameters,
    RefusalReply,
    Reply,
    Request,
    TrainReply,
    TrainRequest,
)
from federation.models import build_network
from federation.study import Study
from federation.tasks import Cohort

log = logging.getLogger("wardround.custodian")

# Without a declared size, cohorts are told in steps of this many patients: one more or less seldom shows.
_DECLARED_STEP = 10


@dataclass(frozen=True)
class _Opened:
    """A study that is warm at this site: data and network in memory."""

    study: Study
    cohort: Cohort
    declared_patients: int
    training: LocalTraining


class Custodian:
    """One hospital's custodian.

    Args:
        config: the hospital's own settings.
        folder: where it keeps what must outlive the process.
        secret: the source of its noise and sampling.
    """

    def __init__(self, config: SiteConfig, folder: Path, secret: bytes) -> None:
        self._config = config
        self._folder = folder
        self._secret = secret
        self._opened: _Opened | None = None
        # Two requests at once could both find a round unspent, and mix their models in one network.
        self._turn = Lock()

    def handle(self, request: Request) -> Reply:
        """Answer ``request``.

        A rule's refusal is answered with its reason. Of any other failure only the kind is told, since its
        text may speak of patients or paths; the site's log has it all under the reply's reference.
        """
        try:
            with self._turn:
                return self._answer(request)
        except RefusedError as refusal:
            return self._refusal("refused", refusal.rule, str(refusal))
        except WardroundError as error:
            return self._refusal("failed", type(error).__name__, "the site's log says why")
        except Exception as error:
            return self._refusal("failed", f"unexpected-{type(error).__name__}", "the site's log says why")

    def _refusal(self, kind: Literal["refused", "failed"], rule: str, reason: str) -> RefusalReply:
        reference = uuid.uuid4().hex[:12]
        log.warning("%s: %s by %s, reference %s", self._config.name, kind, rule, reference, exc_info=True)
        return RefusalReply(site=self._config.name, kind=kind, rule=rule, reason=reason, reference=reference)

    def _answer(self, request: Request) -> Reply:
        opened = self._open(request.study)
        match request:
            case DescribeRequest():
                return DescribeReply(
                    site=self._config.name,
                    declared_patients=opened.declared_patients,
                    description=self._described(opened.cohort),
                )
            case TrainRequest():
                return self._train(opened, request)

    def _open(self, study: Study) -> _Opened:
        """Load what the study needs, once, and ask the policy, every time."""
        if self._opened is None or self._opened.study.id != study.id:
            self._check(study)
            network = build_network(study.model, study.task)
            engine = engine_for(study, network, self._config.resources)
            if study.privacy.mode != "none":
                require_rehearsal(study, network, self._secret, engine)
            cohort = load_cohort(self._config.data, study.task)
            self._check(study, cohort)
            declared = self._declared(cohort)
            self._opened = _Opened(
                study=study,
                cohort=cohort,
                declared_patients=declared,
                training=LocalTraining(
                    study=study,
                    network=network,
                    patients=Patients(cohort.train),
                    expected_patients=declared,
                    secret=self._secret,
                    resources=self._config.resources.model_copy(update={"engine": engine}),
                ),
            )
        self._check(study, self._opened.cohort)
        return self._opened

    def _declared(self, cohort: Cohort) -> int:
        """The public cohort size: the hospital's constant, or in a simulation the count, rounded."""
        if self._config.declared_patients is not None:
            return self._config.declared_patients
        return max(_DECLARED_STEP, round(cohort.train.patient_count / _DECLARED_STEP) * _DECLARED_STEP)

    def _described(self, cohort: Cohort) -> str:
        if self._config.declared_patients is not None:
            return cohort.description
        return f"{cohort.description} (size taken from the data)"

    def _check(self, study: Study, cohort: Cohort | None = None) -> None:
        """Ask the policy; without the cohort, only about the study."""
        facts = Facts(
            site=self._config.name,
            today=datetime.now(UTC).date(),
            patients=None if cohort is None else cohort.train.patient_count,
            classes=None if cohort is None else len(np.unique(cohort.train.targets)),
            declared=None if cohort is None else self._declared(cohort),
        )
        decision = decide(self._config.policy, study, facts)
        if not decision.allowed:
            raise RefusedError(decision.rule, decision.reason)

    def _train(self, opened: _Opened, request: TrainRequest) -> TrainReply:
        _check_model(request.parameters, opened.training.model_size)
        state = StudyState(self._folder, opened.study)
        with state.alone():
            progress = state.burn(request.round, hashlib.sha256(request.parameters.tobytes()).hexdigest())
            answer = state.answer
            if answer is None or answer.round != request.round:
                answer = self._answer_to(opened, request, answer)
                state.remember(answer)
        return TrainReply(
            site=self._config.name,
            round=request.round,
            steps=progress.steps,
            parameters=answer.update,
        )

    def _answer_to(self, opened: _Opened, request: TrainRequest, before: Answer | None) -> Answer:
        """Train; ``before`` is the answer to the last finished round, where the optimiser goes on."""
        try:
            state = None if before is None else before.optimizer
            trained = opened.training.run(request.round, request.parameters, state)
        except BaseException:
            self._opened = None  # what broke off half-way is not used again
            raise
        if not np.isfinite(trained.update).all():
            raise DataError("training left parameters that are not finite; lower training.learning_rate")
        return Answer(request.round, trained.update, trained.optimizer_state)


def _check_model(parameters: Parameters, size: int) -> None:
    """Refuse a model that no round should be spent on."""
    if parameters.shape != (size,):
        raise MessageError(f"{parameters.shape} parameters for a network of [{size}]; nothing was trained")
    if not np.isfinite(parameters).all():
        raise MessageError("the model received has parameters that are not finite; nothing was trained")
