"""What a study took from each of its patients, as the accountants count it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from federation.errors import PrivacyError


@dataclass(frozen=True)
class Spend:
    """Some steps of the subsampled Gaussian mechanism on one patient's data.

    Attributes:
        noise_multiplier: σ, the noise's standard deviation over the clipping norm.
        sampling_rate: q, the chance of the patient to be in a step; 1 is every patient in every step.
        steps: how many.

    Raises:
        PrivacyError: one of them is out of range.
    """

    noise_multiplier: float
    sampling_rate: float
    steps: int

    def __post_init__(self) -> None:
        """Refuse what is no mechanism."""
        check_steps(self.sampling_rate, self.steps)
        if not (math.isfinite(self.noise_multiplier) and self.noise_multiplier > 0):
            raise PrivacyError(
                f"noise_multiplier={self.noise_multiplier} must be positive and finite: no noise, no privacy"
            )


def check_steps(sampling_rate: float, steps: int) -> None:
    """Refuse a sampling rate that is no probability, or a count of steps that is none.

    Raises:
        PrivacyError: naming it.
    """
    if not 0 < sampling_rate <= 1:
        raise PrivacyError(
            f"sampling_rate={sampling_rate} must be above 0 and at most 1: it is a probability"
        )
    if steps < 1:
        raise PrivacyError(f"steps={steps} must be at least 1")


def check_delta(delta: float) -> None:
    """Refuse a δ that is no probability.

    Raises:
        PrivacyError: naming it.
    """
    if not 0 < delta < 1:
        raise PrivacyError(f"delta={delta} must lie between 0 and 1, well below 1 / patients")


def merged(history: Iterable[Spend]) -> list[Spend]:
    """The same losses in as few entries as there are mechanisms, in an order of their own.

    Steps of equal σ and q add up. All steps with q = 1 are one Gaussian mechanism, whatever their σ: their
    1/σ² add up (Dong, Roth & Su 2022, on composing Gaussian differential privacy).
    """
    steps: dict[tuple[float, float], int] = {}
    for spend in history:
        key = (spend.noise_multiplier, spend.sampling_rate)
        steps[key] = steps.get(key, 0) + spend.steps
    sampled = [Spend(noise, rate, count) for (noise, rate), count in sorted(steps.items()) if rate < 1]
    precision = math.fsum(count / noise**2 for (noise, rate), count in steps.items() if rate == 1)
    return [Spend(1 / math.sqrt(precision), 1.0, 1), *sampled] if precision else sampled
