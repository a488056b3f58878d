"""A study that is warm at a site: its network, and the patients who take part in it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from client_app.audit.rehearsal import require_rehearsal
from client_app.custodian.keys import SiteKeys
from client_app.custodian.ledger.cost import Cap, training_cost
from client_app.custodian.ledger.ledger import Ledger
from client_app.data.cohort import load_cohort
from client_app.site import SiteConfig
from client_app.training.batches import Patients
from client_app.training.choice import engine_for
from client_app.training.local_round import LocalTraining
from federation.models import build_network
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
        withdrawn: everybody who had withdrawn when it was opened.
    """

    study: Study
    takers: Takers
    training: LocalTraining
    withdrawn: frozenset[str]


def open_study(
    study: Study, config: SiteConfig, keys: SiteKeys, ledger: Ledger, accept: Callable[[Takers], None]
) -> Opened:
    """Rehearse the study's protection, then load its patients and set aside what it costs them.

    Args:
        study: one that the site has agreed to.
        config: the site's settings.
        keys: the site's.
        ledger: who has withdrawn, and who has budget left.
        accept: is told who would take part before anything is set aside, and refuses by raising.
    """
    network = build_network(study.model, study.task)
    engine = engine_for(study, network, config.resources)
    if study.privacy.mode != "none":
        require_rehearsal(study, network, keys.noise, engine)
    withdrawn = ledger.consent.withdrawn
    takers = _takers(study, config, keys, ledger, accept)
    training = LocalTraining(
        study=study,
        network=network,
        patients=Patients(takers.learning),
        expected_patients=takers.declared,
        secret=keys.noise,
        resources=config.resources.model_copy(update={"engine": engine}),
    )
    return Opened(study, takers, training, withdrawn)


def _takers(
    study: Study, config: SiteConfig, keys: SiteKeys, ledger: Ledger, accept: Callable[[Takers], None]
) -> Takers:
    cohort = load_cohort(config.data, study.task)
    patients = {keys.pseudonym(identity): identity for identity in cohort.train.identities}

    def described(pseudonyms: frozenset[str]) -> Takers:
        return Takers(
            learning=cohort.train.only({patients[pseudonym] for pseudonym in pseudonyms}),
            declared=_declared(config, cohort),
            description=_described(config, cohort),
        )

    members = ledger.budget.start(
        study.id,
        "train",
        training_cost(study, study.total_steps),
        patients,
        cap=Cap.of(config.policy.lifetime),
        accept=lambda pseudonyms: accept(described(pseudonyms)),
    )
    return described(members)


def _declared(config: SiteConfig, cohort: Cohort) -> int:
    """The public cohort size: the hospital's constant, or in a simulation the count, rounded."""
    if config.declared_patients is not None:
        return config.declared_patients
    return max(_DECLARED_STEP, round(cohort.train.patient_count / _DECLARED_STEP) * _DECLARED_STEP)


def _described(config: SiteConfig, cohort: Cohort) -> str:
    known = cohort.description if config.description is None else config.description
    return known if config.declared_patients is not None else f"{known} (size taken from the data)"
