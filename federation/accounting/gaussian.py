"""ε of the plain Gaussian mechanism, exactly."""

import math

from scipy.optimize import brentq
from scipy.special import log_ndtr

from federation.errors import PrivacyError

_HIGHEST_EPSILON = 1e4
_ROOT_ERROR = 1e-9


def gaussian_epsilon(noise_multiplier: float, delta: float) -> float:
    """ε at ``delta`` of one release in which every patient takes part.

    The root of Φ(1/2σ - εσ) - e^ε Φ(-1/2σ - εσ) = δ (Balle & Wang 2018, theorem 8), never below it. Adding
    and removing a patient cost the same.

    Raises:
        PrivacyError: ε would be beyond all use.
    """
    sigma = noise_multiplier

    def excess(epsilon: float) -> float:
        first = log_ndtr(1 / (2 * sigma) - epsilon * sigma)
        second = epsilon + log_ndtr(-1 / (2 * sigma) - epsilon * sigma)
        return math.exp(first) - math.exp(second) - delta

    if excess(0.0) <= 0:
        return 0.0
    high = 1.0
    while excess(high) > 0:
        high *= 2
        if high > _HIGHEST_EPSILON:
            raise PrivacyError(f"noise_multiplier={sigma:.4g} is too small for a finite ε; use more noise")
    return float(brentq(excess, 0.0, high, xtol=_ROOT_ERROR)) + _ROOT_ERROR
