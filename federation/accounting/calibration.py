"""The noise that a promise asks for."""

import math
from collections.abc import Callable
from functools import lru_cache

from scipy.optimize import brentq

from federation.accounting.history import epsilon_spent
from federation.accounting.renyi import conversion, renyi_cost
from federation.accounting.spend import Spend, check_delta, check_steps
from federation.accounting.subsampled import LOWEST_NOISE
from federation.errors import PrivacyError

_HIGHEST_NOISE = 1e5
_TOLERANCE = 1e-3
_GUESSED_ORDERS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256)
# Where costs behave, five are asked for; after this many the interval is halved each time.
_PATIENCE = 10


@lru_cache(maxsize=256)
def noise_multiplier_for(epsilon: float, sampling_rate: float, steps: int, delta: float) -> float:
    """The noise multiplier with which ``steps`` steps cost at most ``epsilon``, to 0.1 %.

    Guarantee: as for the package; ``epsilon_spent`` of the result is at most ``epsilon``.

    Raises:
        PrivacyError: there is none within the accountant's range.
    """
    check_steps(sampling_rate, steps)
    check_delta(delta)
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise PrivacyError(f"epsilon={epsilon} must be positive and finite")

    def excess(noise: float) -> float:
        """The logarithm of what ``noise`` costs over what it may."""
        try:
            cost = epsilon_spent(noise, sampling_rate, steps, delta)
        except PrivacyError:  # too little noise for a bound
            return math.inf
        return math.log(cost / epsilon) if cost else -math.inf

    return _least_noise(excess, _guess(epsilon, sampling_rate, steps, delta), epsilon)


def _least_noise(excess: Callable[[float], float], noise: float, epsilon: float) -> float:
    """Search from ``noise``: each cost takes seconds for thousands of steps, so few are asked for."""
    low, over = 0.0, math.inf
    high, under = math.inf, -math.inf
    for asked in range(1, 100):
        found = excess(noise)
        if found > 0:
            low, over = noise, found
        else:
            high, under = noise, found
        if high <= low * (1 + _TOLERANCE):
            return high
        if high == math.inf:
            noise = _more(low, over, epsilon)
        elif low == 0:
            noise = _less(high, under, epsilon)
        else:
            noise = _between(low, over, high, under, halve=asked > _PATIENCE)
    raise PrivacyError(f"epsilon={epsilon}: no noise was found for it; change epsilon a little")


def _more(noise: float, excess: float, epsilon: float) -> float:
    """A little past the noise that is enough if cost falls as one over noise."""
    if noise >= _HIGHEST_NOISE:
        raise PrivacyError(f"epsilon={epsilon} would need noise above {_HIGHEST_NOISE:g} x C; raise it")
    return min(_HIGHEST_NOISE, noise * math.exp(min(excess, math.log(2)) + 0.4 * _TOLERANCE))


def _less(noise: float, excess: float, epsilon: float) -> float:
    if noise <= LOWEST_NOISE:
        raise PrivacyError(
            f"epsilon={epsilon} would need noise below {LOWEST_NOISE} x C, where the bound is not "
            "reliable; lower it, or say privacy=none"
        )
    return max(LOWEST_NOISE, noise * math.exp(max(excess, -math.log(2)) - 0.4 * _TOLERANCE))


def _between(low: float, over: float, high: float, under: float, halve: bool) -> float:
    """Just past the point where the straight line between both logarithms says that the cost is right.

    Past it as seen from the nearer end, so that the interval comes to lie closely around the right noise.
    """
    width = math.log(high / low)
    if halve or not math.isfinite(over - under):
        return low * math.exp(width / 2)
    at, past = width * over / (over - under), 0.4 * _TOLERANCE
    at += past if at < width / 2 else -past
    return low * math.exp(min(max(at, past), width - past))


def _guess(epsilon: float, sampling_rate: float, steps: int, delta: float) -> float:
    """The noise by Rényi differential privacy, which costs no time and is a few percent too much."""

    def excess(log_noise: float) -> float:
        spend = Spend(math.exp(log_noise), sampling_rate, steps)
        return min(
            min(renyi_cost([spend], order) + conversion(order, delta) for order in _GUESSED_ORDERS) - epsilon,
            1e6,
        )

    low, high = math.log(LOWEST_NOISE), math.log(_HIGHEST_NOISE)
    if excess(low) <= 0:
        return LOWEST_NOISE
    if excess(high) >= 0:
        return _HIGHEST_NOISE
    return math.exp(brentq(excess, low, high, xtol=1e-2))
