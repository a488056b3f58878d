"""A study's promise to patients in numbers: the noise it asks for, and what steps have cost."""

from federation.accounting import epsilon_spent, noise_multiplier_for
from federation.study import Study


def noise_multiplier(study: Study) -> float | None:
    """The noise with which a site that runs every step keeps the promise; None without privacy."""
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


def largest_epsilon(study: Study) -> float | None:
    """The most that the study costs anybody; nobody both learns and is held out. None without privacy."""
    asked = [study.privacy.epsilon, None if study.evaluation is None else study.evaluation.epsilon]
    return max((epsilon for epsilon in asked if epsilon is not None), default=None)


def epsilon_after(study: Study, steps: int) -> float | None:
    """What ``steps`` steps of the study cost each patient of a site, at its δ; None without privacy."""
    noise, delta = noise_multiplier(study), study.privacy.delta
    if noise is None or delta is None:
        return None
    return epsilon_spent(noise, study.privacy.sampling_rate, steps, delta) if steps else 0.0
