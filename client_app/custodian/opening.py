"""A study that is warm at a site: its network, and the patients who take part in it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import nn

from client_app.audit.rehearsal import require_rehearsal
from client_app.custodian.keys import SiteKeys
from client_app.custodian.ledger.cost import Cap, Cost, Part, evaluation_cost, training_cost
from client_app.custodian.ledger.ledger import Ledger
from client_app.custodian.policy import Decision
from client_app.data.cohort import load_cohort
from client_app.site import SiteConfig
from client_app.training.batches import Patients
from client_app.training.choice import engine_for
from client_app.training.local_round import LocalTraining
from federation.models import build_network
from federation.site_store import Standing
from federation.study import Study
from federation.tasks import Cohort, Examples

# Without a declared size, cohorts are told in steps of this many patients: one more or less seldom shows.
_DECLARED_STEP = 10


@dataclass(frozen=True)
class Takers:
    """Who takes part in a study at a site.

    Attributes:
        learning: the training patients who have consented and have budget left.
        declared: the public cohort size.
        description: what sets the site's patients apart, as it wants it known.
    """

    learning: Examples
    declared: int
    description: str

    @property
    def classes(self) -> int:
        """How many classes occur."""
        return len(np.unique(self.learning.targets))


@dataclass(frozen=True)
class Opened:
    """A study in memory.

    Attributes:
        study: which one.
        takers: who takes part.
        training: what learns from them.
        network: the same one, whose parameters every request sets anew.
        held_out: the held-out patients who have consented and have budget left; their cost is set aside.
        version: which state of the hospital's data it is; empty where data have no versions.
    """

    study: Study
    takers: Takers
    training: LocalTraining
    network: nn.Module
    held_out: Callable[[], Examples]
    version: str


class Judge(Protocol):
    """Says whether patients are enough for a study, before anything is set aside."""

    def __call__(
        self,
        study: Study,
        seen: Standing | None = None,
        takers: Takers | None = None,
        held_out: int | None = None,
    ) -> Decision:
        """Of who would learn, or of how many would be evaluated."""
        ...


class Opener:
    """Opens studies at one site.

    Args:
        config: the site's settings.
        keys: the site's.
        ledger: who has not withdrawn, and has budget left.
        judge: what the site's policy says.
    """

    def __init__(self, config: SiteConfig, keys: SiteKeys, ledger: Ledger, judge: Judge) -> None:
        self._config = config
        self._keys = keys
        self._ledger = ledger
        self._judge = judge

    def open(self, study: Study, seen: Standing) -> Opened:
        """Rehearse the study's protection, then load its patients and set aside what it costs them.

        Args:
            study: one that the site has agreed to.
            seen: the standing of the hospital's store before that.
        """
        network = build_network(study.model, study.task)
        engine = engine_for(study, network, self._config.resources)
        if study.privacy.mode != "none":
            require_rehearsal(study, network, self._keys.noise, engine)
        cohort = load_cohort(self._config.data, study.task)
        takers = self._takers(study, seen, cohort)
        training = LocalTraining(
            study=study,
            network=network,
            patients=Patients(takers.learning),
            expected_patients=takers.declared,
            secret=self._keys.noise,
            resources=self._config.resources.model_copy(update={"engine": engine}),
        )
        return Opened(
            study=study,
            takers=takers,
            training=training,
            network=network,
            held_out=lambda: self._held_out(study, cohort),
            version=cohort.version,
        )

    def _takers(self, study: Study, seen: Standing, cohort: Cohort) -> Takers:
        def with_budget(examples: Examples) -> Takers:
            return Takers(
                learning=examples,
                declared=_declared(self._config, cohort),
                description=_described(self._config, cohort),
            )

        plan = training_cost(study, study.total_steps)
        learning = self._with_budget(
            study,
            "train",
            plan,
            cohort.train,
            lambda some: self._judge(study, seen, with_budget(some)).require(),
        )
        return with_budget(learning)

    def _held_out(self, study: Study, cohort: Cohort) -> Examples:
        return self._with_budget(
            study,
            "test",
            evaluation_cost(study),
            cohort.test,
            lambda some: self._judge(study, held_out=some.patient_count).require(),
        )

    def _with_budget(
        self, study: Study, part: Part, plan: Cost, examples: Examples, accept: Callable[[Examples], None]
    ) -> Examples:
        """Those who have consented and have budget left for ``plan``, which is set aside."""
        patients = {self._keys.pseudonym(identity): identity for identity in examples.identities}

        def those(pseudonyms: frozenset[str]) -> Examples:
            return examples.only({patients[pseudonym] for pseudonym in pseudonyms})

        members = self._ledger.budget.start(
            study.id,
            part,
            plan,
            patients,
            cap=Cap.of(self._config.policy.lifetime),
            accept=lambda pseudonyms: accept(those(pseudonyms)),
        )
        return those(members)


def _declared(config: SiteConfig, cohort: Cohort) -> int:
    """The public cohort size: the hospital's constant, or in a simulation the count, rounded."""
    if config.declared_patients is not None:
        return config.declared_patients
    return max(_DECLARED_STEP, round(cohort.train.patient_count / _DECLARED_STEP) * _DECLARED_STEP)


def _described(config: SiteConfig, cohort: Cohort) -> str:
    known = cohort.description if config.description is None else config.description
    return known if config.declared_patients is not None else f"{known} (size taken from the data)"
