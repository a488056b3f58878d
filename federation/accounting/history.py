"""What a whole history of studies has cost a patient."""

from collections.abc import Sequence
from functools import lru_cache

from federation.accounting.gaussian import gaussian_epsilon
from federation.accounting.spend import Spend, check_delta, merged
from federation.accounting.subsampled import prv_epsilon


def epsilon_of(history: Sequence[Spend], delta: float) -> float:
    """The smallest ε known to hold at ``delta`` for all that ``history`` released; 0 if that is nothing.

    Guarantee: unit = one patient, adjacency = add or remove one patient, Poisson sampling, as for the
    package. Assumption beyond: which studies run, and with what noise, was settled before the first of them.
    Where later studies are chosen after looking at earlier models, ``RdpFilter`` is what holds.

    Exact where every q is 1, else PRV's upper bound. Equal mechanisms are merged first. Those that remain
    distinct cost PRV a grid each: about 0.1 s for a few, 29 s for 60 of them.

    Raises:
        PrivacyError: ``delta`` is out of range, or the accountant cannot give a bound.
    """
    check_delta(delta)
    return _epsilon_of(tuple(merged(history)), delta)


def epsilon_spent(noise_multiplier: float, sampling_rate: float, steps: int, delta: float) -> float:
    """The smallest ε known to hold at ``delta`` after ``steps`` equal steps: ``epsilon_of`` one spend.

    Raises:
        PrivacyError: an argument is out of range, or the accountant cannot give a bound.
    """
    return epsilon_of([Spend(noise_multiplier, sampling_rate, steps)], delta)


@lru_cache(maxsize=1024)
def _epsilon_of(history: tuple[Spend, ...], delta: float) -> float:
    if not history:
        return 0.0
    if len(history) == 1 and history[0].sampling_rate == 1:
        return gaussian_epsilon(history[0].noise_multiplier, delta)
    return prv_epsilon(history, delta)
