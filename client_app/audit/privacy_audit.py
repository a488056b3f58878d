"""A study's privacy audit: the rehearsal, an inversion, and of a finished run what its model gives away.

In a simulation it sees all hospitals' patients. At a hospital it is run on the hospital's own, and what it
finds stays there.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from client_app.audit.inversion import generated_image, invert_gradient
from client_app.audit.membership import attack_membership
from client_app.audit.records import Membership, PrivacyAudit, Rehearsal
from client_app.audit.rehearsal import rehearse
from client_app.custodian.keys import SiteKeys
from client_app.data.cohort import load_cohort
from client_app.site import simulated_site
from client_app.training.choice import engine_for
from client_app.training.stream import SECRET_BYTES
from federation.against import guarantees
from federation.config import RunConfig, compose_run, read_begun
from federation.errors import ConfigError
from federation.messages import Parameters
from federation.models import build_network, get_parameters
from federation.stored_models import StoredModel, models_of
from federation.study import Study
from federation.tasks import pool


@dataclass(frozen=True)
class Audited:
    """What an audit leaves.

    Attributes:
        record: every number.
        pictures: the inversion's pictures side by side, a PNG; None where there is none.
    """

    record: PrivacyAudit
    pictures: bytes | None


def audit_privacy(overrides: Sequence[str], run_folder: Path | None) -> Audited:
    """Audit the study that ``overrides`` compose, or that of a finished run, changed by them.

    Args:
        overrides: as of a run, e.g. ``["study=chest_xray", "seed=1"]``.
        run_folder: of a simulation; its released model is attacked.

    Raises:
        ConfigError: there is no such study or run, or the overrides make another study of the run's.
        DataError: the run's model was changed, or its patients cannot be read.
        PrivacyError: the accountant has no noise for the study's promise.
    """
    if run_folder is not None:
        overrides = [*read_begun(run_folder).overrides, *overrides]
    run = compose_run(overrides)
    study, seed = run.study, run.options.seed
    membership = None if run_folder is None else _membership(run, run_folder)
    secret = os.urandom(SECRET_BYTES) if seed is None else SiteKeys.seeded(seed, "audit").noise
    promised = study.privacy.mode != "none"
    image = generated_image(study)
    inversion, pictures = (None, None) if image is None else invert_gradient(study, image, secret)
    record = PrivacyAudit(
        title=study.title,
        study_id=study.id,
        made=datetime.now(UTC),
        epsilon=study.privacy.epsilon,
        delta=study.privacy.delta,
        mode=study.privacy.mode,
        rests_on=guarantees(study)[0].assumption if promised else "",
        fewest_in_sum=None if study.parties is None else study.parties.min_survivors,
        clipping_norm=study.privacy.clipping_norm,
        sampling_rate=study.privacy.sampling_rate,
        steps=study.total_steps,
        rehearsal=_rehearsal(run, secret) if promised else None,
        inversion=inversion,
        membership=membership,
    )
    return Audited(record, pictures)


def _rehearsal(run: RunConfig, secret: bytes) -> Rehearsal:
    """That of the first hospital; the others differ from it by their secret."""
    network = build_network(run.study.model, run.study.task)
    site = simulated_site(run.federation, run.site, next(iter(run.federation.sites)))
    return rehearse(run.study, network, secret, engine_for(run.study, network, site.resources))


def _membership(run: RunConfig, folder: Path) -> Membership:
    """Attack what the run released, with the patients of all its hospitals."""
    models = models_of(folder)
    released = next((model for model in models if model.manifest.round is None), None)
    if released is None:
        raise ConfigError(f"--run {folder} has released no model; name a run that was completed")
    if released.manifest.study_id != run.study.id:
        raise ConfigError(
            f"--run {folder} was study {released.manifest.study_id[:12]}, and the settings given, or conf/ "
            f"as it is now, make it {run.study.id[:12]}; leave out what changes the study"
        )
    reference, words = _reference(run.study, models)
    hospitals = tuple(run.federation.sites)
    cohorts = [
        load_cohort(simulated_site(run.federation, run.site, name).data, run.study.task) for name in hospitals
    ]
    return Membership(
        version=released.manifest.version,
        hospitals=hospitals,
        reference=words,
        attacks=attack_membership(
            run.study,
            released.parameters(),
            reference,
            members=pool([cohort.train for cohort in cohorts]),
            others=pool([cohort.test for cohort in cohorts]),
        ),
    )


def _reference(study: Study, models: Sequence[StoredModel]) -> tuple[Parameters, str]:
    """What an attacker has to compare with: the initial model if it can be had, else the first round's."""
    rounds = [model for model in models if model.manifest.round is not None]
    random_start = study.pretraining.source == "random" and study.start_from is None
    if random_start or len(rounds) < 2:
        return get_parameters(build_network(study.model, study.task)), "the seeded random model"
    return rounds[0].parameters(), f"the model after round {rounds[0].manifest.round}"
