"""Rényi differential privacy of the subsampled Gaussian mechanism, at one order."""

import math
from collections.abc import Iterable

from federation.accounting.spend import Spend


def renyi_cost(history: Iterable[Spend], order: int) -> float:
    """ρ with which all of ``history`` is (order, ρ)-RDP: a sum over steps.

    Guarantee: unit = one patient, adjacency = add or remove one patient, Poisson sampling. For whole orders
    the divergence is a finite sum (Mironov, Talwar & Zhang 2019, section 3.3), and the direction taken is the
    larger one (theirs too); infinite where it is beyond floating point.
    """
    # It loads torch, which takes seconds; what only reads a policy does without.
    from opacus.accountants.analysis.rdp import compute_rdp  # noqa: PLC0415

    try:
        return math.fsum(
            float(
                compute_rdp(
                    q=spend.sampling_rate,
                    noise_multiplier=spend.noise_multiplier,
                    steps=spend.steps,
                    orders=float(order),
                )
            )
            for spend in history
        )
    except OverflowError:
        return math.inf


def conversion(order: float, delta: float) -> float:
    """What (order, ρ)-RDP costs on top of ρ: it implies (ρ + this, ``delta``)-DP.

    log((α - 1) / α) - (log δ + log α) / (α - 1): Canonne, Kamath & Steinke 2020, proposition 12; Balle et al.
    2020, theorem 21.
    """
    return math.log1p(-1 / order) - (math.log(delta) + math.log(order)) / (order - 1)
