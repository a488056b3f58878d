"""A lifetime's cap that holds even where each study is chosen after looking at what came before."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from federation.accounting.renyi import conversion, renyi_cost
from federation.accounting.spend import Spend, check_delta
from federation.errors import PrivacyError

_ORDERS = range(2, 513)
_ROUNDING = 1e-9


@dataclass(frozen=True)
class RdpFilter:
    """Says whether a patient's data may take part in one more study.

    Guarantee: unit = one patient, adjacency = add or remove one patient. If every spend is asked about before
    it is made, with the patient's whole history, and made only when allowed, then everything that was ever
    released about the patient is together (``epsilon``, ``delta``)-DP. Studies, their noise, steps and
    sampling rates, and when to stop may depend on everything released before. Patients may be asked about one
    by one: one whose budget is used up is left out, and the studies go on with the others.

    What is proven (Feldman & Zrnic 2021, "Individual Privacy Accounting via a Rényi Filter"): at *one* order
    α fixed beforehand, spends that never sum to more than a budget ρ fixed beforehand are together
    (α, ρ)-RDP. So α and ρ here depend on ``epsilon`` and ``delta`` alone. That proof does not cover allowing
    a spend as long as *some* of several orders has budget left at the same δ: which one that is depends on
    what was released. ``epsilon_of`` is no filter either: its spends must all be settled beforehand.

    Attributes:
        epsilon: the most that a patient's data may ever cost.
        delta: what ``epsilon`` holds at.
        order: α, the one that allows most steps of the plain Gaussian mechanism.
        budget: ρ, so that (α, ρ)-RDP is (``epsilon``, ``delta``)-DP.

    Raises:
        PrivacyError: ``epsilon`` or ``delta`` is out of range, or ``epsilon`` is too small to allow anything.
    """

    epsilon: float
    delta: float
    order: int = field(init=False)
    budget: float = field(init=False)

    def __post_init__(self) -> None:
        """Fix the order and its budget, once."""
        check_delta(self.delta)
        if not (math.isfinite(self.epsilon) and self.epsilon > 0):
            raise PrivacyError(f"epsilon={self.epsilon} must be positive and finite")
        # A Gaussian step costs α/2σ², so what counts is budget over order.
        order = max(_ORDERS, key=lambda alpha: (self.epsilon - conversion(alpha, self.delta)) / alpha)
        budget = self.epsilon - conversion(order, self.delta)
        if budget <= 0:
            raise PrivacyError(
                f"epsilon={self.epsilon} at delta={self.delta} is too small for a filter; raise either"
            )
        object.__setattr__(self, "order", order)
        object.__setattr__(self, "budget", budget)

    def can_spend(self, history: Sequence[Spend], planned: Spend) -> bool:
        """Whether a patient with ``history`` may take part in all of ``planned``.

        Args:
            history: everything that was ever spent of this patient, or reserved, by whomever the cap is for.
            planned: what is asked for now. Once allowed, it counts whole, even if it breaks off.
        """
        return self.spent([*history, planned]) <= self.budget * (1 - _ROUNDING)

    def spent(self, history: Sequence[Spend]) -> float:
        """What of the budget ``history`` has used: its ρ at the filter's order."""
        return renyi_cost(history, self.order)
