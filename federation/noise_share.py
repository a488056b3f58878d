"""Noise in shares: no site adds all of it, and the sum over sites carries what was promised.

Each of n sites adds independent noise of variance z² / (n - c - d), in squares of what one patient moves, so
that a sum over n - d of them, of which c tell their own noise to the coordinator, still has z² that nobody
knows. Why integers rounded at each site add up as one rounded Gaussian does:
``docs/decisions/0010-distributed-noise.md``.
"""

import math
from dataclasses import dataclass

from federation.errors import PrivacyError

# The least deviation of one site's noise, in steps of the grid, at which rounded noise counts as Gaussian. At
# half of it, what fifty sites lose by rounding is below 1e-100; far below one step, there may be no noise.
LEAST_SHARE = 2.0**4


@dataclass(frozen=True)
class Views:
    """Noise multipliers, each of what one kind of attacker does not know.

    In each: unit = one patient of one hospital; adjacency = add or remove that patient; assumption: the
    patient moves that hospital's vector, on the grid, by no more than the noise was scaled to.

    Attributes:
        coordinator: against the coordinator and the sites in league with it, while they are no more than the
            plan's ``colluding`` and a sum is over all but ``dropouts`` sites at least; the headline.
        peer: against one other site that sees every model and takes its own noise off, where it and the
            coordinator do not help each other; without colluding sites it is *less* than the headline.
        everybody: against the coordinator and all other sites together, where only the share of the patient's
            own site is left; no assumption about anybody else.
    """

    coordinator: float
    peer: float
    everybody: float


def views(noise_multiplier: float, *, sites: int, colluding: int, dropouts: int) -> Views:
    """What remains of ``noise_multiplier``, and against whom, where each site adds its share.

    Guarantee: each of the three is that of a Gaussian mechanism; unit = patient, adjacency = add or remove
    one patient; assumption: see ``Views``.

    Raises:
        PrivacyError: there is no noise, or not two honest sites that remain.
    """
    honest = sites - colluding - dropouts
    if colluding < 0 or dropouts < 0 or honest < 2:
        raise PrivacyError(
            f"sites={sites}, colluding={colluding}, dropouts={dropouts}: noise in shares needs two honest "
            f"sites that remain; take more sites, or privacy=local"
        )
    share = share_of(noise_multiplier, honest)
    return Views(coordinator=noise_multiplier, peer=share * math.sqrt(sites - 1 - dropouts), everybody=share)


def share_of(noise_multiplier: float, honest: int) -> float:
    """The noise multiplier of one site, of which ``honest`` add up to ``noise_multiplier``.

    Guarantee: that of a Gaussian mechanism with this noise, against everybody; unit = patient, adjacency =
    add or remove one patient; assumption: none about other sites.

    Raises:
        PrivacyError: there is no noise, or nobody to add it.
    """
    if not 0 < noise_multiplier < math.inf or honest < 1:
        raise PrivacyError(
            f"noise_multiplier={noise_multiplier:g} in {honest} shares is no noise; "
            f"choose both above zero and finite"
        )
    return noise_multiplier / math.sqrt(honest)
