"""ε of steps that only some patients are in, alone or beside whole-cohort ones, by numerical composition.

The accountant is PRV (Gopi, Lee & Wutschitz 2021) as in Opacus, of which the upper bound is taken: at most
0.01 plus twice the accountant's error above ε.
"""

import math
import warnings
from collections.abc import Sequence

from federation.accounting.renyi import conversion, renyi_cost
from federation.accounting.spend import Spend
from federation.errors import PrivacyError

LOWEST_NOISE = 0.2
_EPSILON_ERROR = 0.01
# Beyond it PRV's grid grows to gigabytes, and soon past what floating point can hold.
_HIGHEST_EPSILON = 200
_ORDERS = (2, 4, 8, 16, 32, 64)


def prv_epsilon(history: Sequence[Spend], delta: float) -> float:
    """An upper bound of ε at ``delta`` of all of ``history`` together; q may be 1 in some of it.

    Raises:
        PrivacyError: the accountant cannot give a bound that can be relied on.
    """
    least = min(spend.noise_multiplier for spend in history)
    if least < LOWEST_NOISE:
        raise PrivacyError(
            f"noise_multiplier={least:.4g} is below {LOWEST_NOISE}, where the bound is not "
            "reliable; use more noise"
        )
    rough = min(renyi_cost(history, order) + conversion(order, delta) for order in _ORDERS)
    if rough > _HIGHEST_EPSILON:
        raise PrivacyError(
            f"no bound below {_HIGHEST_EPSILON} for {_told(history)} at delta={delta}; {_REMEDY}"
        )
    # It loads torch, which takes seconds; what accounts for nothing does without.
    from opacus.accountants import PRVAccountant  # noqa: PLC0415

    accountant = PRVAccountant()
    accountant.history = [(spend.noise_multiplier, spend.sampling_rate, spend.steps) for spend in history]
    try:
        with warnings.catch_warnings():
            # PRV sizes its grid with a rough RDP bound, and says so each time the bound is rough.
            warnings.simplefilter("ignore")
            epsilon = float(accountant.get_epsilon(delta, eps_error=_EPSILON_ERROR))
    except (ValueError, RuntimeError, OverflowError, MemoryError) as error:
        raise PrivacyError(f"no bound for {_told(history)} at delta={delta}: {error}; {_REMEDY}") from error
    if not math.isfinite(epsilon):
        raise PrivacyError(f"no finite bound for {_told(history)} at delta={delta}; {_REMEDY}")
    return epsilon


_REMEDY = "use more noise or fewer steps"


def _told(history: Sequence[Spend]) -> str:
    return "; ".join(
        f"noise_multiplier={spend.noise_multiplier:.4g}, sampling_rate={spend.sampling_rate}, "
        f"steps={spend.steps}"
        for spend in history
    )
