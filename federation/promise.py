"""A study's promise to patients in numbers: the noise it asks for, and what steps have cost.

With distributed noise a number depends on who is looking (``federation.noise_share``). Where nothing is said
of that, it is the coordinator together with the sites that may collude with it.
"""

from collections.abc import Callable

from federation.accounting import epsilon_spent, noise_multiplier_for
from federation.errors import PrivacyError
from federation.noise_share import Views, views
from federation.study import Study


def noise_multiplier(study: Study) -> float | None:
    """The noise with which a study of which every step is run keeps its promise; None without privacy."""
    privacy = study.privacy
    if privacy.epsilon is None or privacy.delta is None:
        return None
    return noise_multiplier_for(privacy.epsilon, privacy.sampling_rate, study.total_steps, privacy.delta)


def evaluation_noise(study: Study) -> float | None:
    """The noise of a score histogram, in patients; None without privacy or without evaluation.

    A patient is in one place of it, so whoever comes or goes moves it by one.
    """
    delta = study.privacy.delta
    if study.evaluation is None or study.evaluation.epsilon is None or delta is None:
        return None
    return noise_multiplier_for(study.evaluation.epsilon, 1.0, 1, delta)


def seen(study: Study, noise: float) -> Views:
    """What of ``noise``, of the study's steps or of its histogram, stands before whom."""
    parties = study.parties
    if study.privacy.mode != "distributed" or parties is None:
        return Views(coordinator=noise, peer=noise, everybody=noise)
    return views(noise, sites=parties.sites, colluding=parties.colluding, dropouts=parties.dropouts)


def largest_epsilon(study: Study) -> float | None:
    """The most that the study costs anybody; nobody both learns and is held out. None without privacy."""
    asked = [study.privacy.epsilon, None if study.evaluation is None else study.evaluation.epsilon]
    return max((epsilon for epsilon in asked if epsilon is not None), default=None)


def largest_local_epsilon(study: Study) -> float | None:
    """The same before everybody together, who leave a site's own noise only; None if nothing bounds it.

    Without distributed noise it is the same number.
    """
    steps = epsilon_before(study, study.total_steps, lambda views: views.everybody)
    if evaluation_noise(study) is None or steps is None:
        return steps
    counts = evaluation_epsilon_before(study, lambda views: views.everybody)
    return None if counts is None else max(steps, counts)


def epsilon_after(study: Study, steps: int) -> float | None:
    """What ``steps`` steps of the study cost each patient of a site, at its δ; None without privacy."""
    return epsilon_before(study, steps, lambda views: views.coordinator)


def epsilon_before(study: Study, steps: int, whom: Callable[[Views], float]) -> float | None:
    """As ``epsilon_after``, before ``whom``; None also where too little noise stands to bound anything."""
    noise, delta = noise_multiplier(study), study.privacy.delta
    if noise is None or delta is None:
        return None
    return bounded_epsilon(whom(seen(study, noise)), study.privacy.sampling_rate, steps, delta)


def evaluation_epsilon_before(study: Study, whom: Callable[[Views], float]) -> float | None:
    """What the evaluation costs each held-out patient, before ``whom``; None as for ``epsilon_before``."""
    noise, delta = evaluation_noise(study), study.privacy.delta
    if noise is None or delta is None:
        return None
    return bounded_epsilon(whom(seen(study, noise)), 1.0, 1, delta)


def bounded_epsilon(noise: float, sampling_rate: float, steps: int, delta: float) -> float | None:
    """What ``steps`` steps with this noise multiplier cost; None where it is too little to bound anything."""
    try:
        return epsilon_spent(noise, sampling_rate, steps, delta) if steps else 0.0
    except PrivacyError:
        return None
