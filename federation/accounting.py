"""What noise costs and what it buys, for the subsampled Gaussian mechanism.

Guarantee: unit = one patient with all of that patient's images; adjacency = add or remove one patient;
assumption: every patient enters every step independently with probability q (Poisson sampling), and moves the
sum by at most the clipping norm in L2. A *noise multiplier* is the noise's standard deviation over
that norm.

For q < 1 the accountant is PRV (Gopi, Lee & Wutschitz 2021, as in Opacus), whose upper bound is used. For
q = 1 the composition is one Gaussian mechanism, and its exact trade-off is used (Balle & Wang 2018,
Theorem 8).
"""

import math
import warnings
from functools import lru_cache

from opacus.accountants import PRVAccountant
from scipy.optimize import brentq
from scipy.special import log_ndtr

from federation.errors import PrivacyError

_EPSILON_ERROR = 0.01
_LOWEST_NOISE, _HIGHEST_NOISE = 0.2, 1e5


@lru_cache(maxsize=1024)
def epsilon_spent(noise_multiplier: float, sampling_rate: float, steps: int, delta: float) -> float:
    """The smallest ε known to hold at ``delta`` after ``steps`` steps.

    Raises:
        PrivacyError: an argument is out of range, or the accountant cannot give a bound.
    """
    _check(sampling_rate, steps, delta)
    if not (math.isfinite(noise_multiplier) and noise_multiplier > 0):
        raise PrivacyError(f"noise_multiplier={noise_multiplier} must be positive: no noise, no privacy")
    if sampling_rate == 1:
        return _gaussian_epsilon(noise_multiplier / math.sqrt(steps), delta)
    if noise_multiplier < _LOWEST_NOISE:
        raise PrivacyError(
            f"noise_multiplier={noise_multiplier:.4g} is below {_LOWEST_NOISE}, where the bound is not "
            "reliable; use more noise"
        )
    accountant = PRVAccountant()
    accountant.history = [(noise_multiplier, sampling_rate, steps)]
    try:
        with warnings.catch_warnings():
            # PRV sizes its grid with a rough RDP bound, and says so each time the bound is rough.
            warnings.simplefilter("ignore")
            epsilon = float(accountant.get_epsilon(delta, eps_error=_EPSILON_ERROR))
    except (ValueError, RuntimeError, OverflowError) as error:
        raise PrivacyError(
            f"no bound for noise_multiplier={noise_multiplier:.4g}, sampling_rate={sampling_rate}, "
            f"steps={steps}, delta={delta}: {error}; use more noise or fewer steps"
        ) from error
    if not math.isfinite(epsilon):
        raise PrivacyError(
            f"noise_multiplier={noise_multiplier:.4g} is too small for a finite ε; use more noise"
        )
    return epsilon


@lru_cache(maxsize=256)
def noise_multiplier_for(epsilon: float, sampling_rate: float, steps: int, delta: float) -> float:
    """The noise multiplier with which ``steps`` steps cost at most ``epsilon``, to 0.1 %.

    Raises:
        PrivacyError: there is none within the accountant's range.
    """
    _check(sampling_rate, steps, delta)
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise PrivacyError(f"epsilon={epsilon} must be positive and finite")

    def costs(noise: float) -> float:
        try:
            return epsilon_spent(noise, sampling_rate, steps, delta)
        except PrivacyError:  # too little noise for a bound
            return math.inf

    low = high = 1.0
    while costs(high) > epsilon:
        low, high = high, 2 * high
        if high > _HIGHEST_NOISE:
            raise PrivacyError(f"epsilon={epsilon} would need noise above {_HIGHEST_NOISE:g} x C; raise it")
    while low == high or costs(low) < epsilon:
        low, high = low / 2, min(low, high)
        if low < _LOWEST_NOISE:
            raise PrivacyError(
                f"epsilon={epsilon} would need noise below {_LOWEST_NOISE} x C, where the bound is not "
                "reliable; lower it, or say privacy=none"
            )
    while high / low > 1.001:
        middle = math.sqrt(low * high)
        if costs(middle) > epsilon:
            low = middle
        else:
            high = middle
    return high


def _gaussian_epsilon(noise_multiplier: float, delta: float) -> float:
    """ε of one Gaussian mechanism, exact: the root of Φ(1/2σ - εσ) - e^ε Φ(-1/2σ - εσ) = δ."""
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
        if high > 1e4:
            raise PrivacyError(f"noise_multiplier={sigma:.4g} is too small for a finite ε; use more noise")
    return float(brentq(excess, 0.0, high, xtol=1e-9))


def _check(sampling_rate: float, steps: int, delta: float) -> None:
    if not 0 < sampling_rate <= 1:
        raise PrivacyError(
            f"sampling_rate={sampling_rate} must be above 0 and at most 1: it is a probability"
        )
    if steps < 1:
        raise PrivacyError(f"steps={steps} must be at least 1")
    if not 0 < delta < 1:
        raise PrivacyError(f"delta={delta} must lie between 0 and 1, well below 1 / patients")
