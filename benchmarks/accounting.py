"""Our ε beside that of privacy loss distributions, for adding or removing one patient.

The other accountant is dp-accounting's, in its pessimistic form: never below the truth, and above it by what
its grid costs, which grows with the steps and shrinks with the noise.
"""

from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent
from dp_accounting.pld import PLDAccountant

from benchmarks.table import Row
from federation.accounting import Spend, epsilon_of

# Tiny and large σ, small and large q, one step and twenty thousand, whole cohorts, and histories of several.
SETTINGS: tuple[tuple[tuple[Spend, ...], float], ...] = (
    ((Spend(1.0, 1.0, 1),), 1e-5),
    ((Spend(45.7, 1.0, 150),), 1e-5),
    ((Spend(0.6, 1.0, 1),), 1e-6),
    ((Spend(100.0, 1.0, 3),), 1e-4),
    ((Spend(0.2, 0.01, 1),), 1e-5),
    ((Spend(0.6, 0.01, 10),), 1e-5),
    ((Spend(1.0, 0.02, 1000),), 1e-5),
    ((Spend(1.5, 0.05, 1),), 1e-4),
    ((Spend(2.0, 0.5, 100),), 1e-6),
    ((Spend(5.0, 0.2, 100),), 1e-10),
    ((Spend(5.0, 0.9, 200),), 1e-5),
    ((Spend(10.0, 0.05, 20000),), 1e-5),
    ((Spend(100.0, 0.1, 1000),), 1e-5),
    ((Spend(20.0, 1.0, 100), Spend(35.0, 1.0, 50)), 1e-5),
    ((Spend(2.0, 0.1, 100), Spend(1.0, 0.02, 500)), 1e-5),
    ((Spend(1.0, 1.0, 1), Spend(1.0, 0.02, 1000)), 1e-5),
    ((Spend(50.0, 1.0, 40), Spend(2.0, 0.1, 100), Spend(1.0, 0.02, 500), Spend(50.0, 1.0, 40)), 1e-6),
)
# What rounding each loss up to the grid adds in all, where it adds its most.
_GRID_ERROR = 0.01
_COARSEST, _FINEST = 1e-3, 1e-4


def run() -> list[Row]:
    """A row for each setting and accountant, and one for the difference."""
    rows = []
    for history, delta in SETTINGS:
        case = f"{' + '.join(f'({s.noise_multiplier:g}, {s.sampling_rate:g}, {s.steps})' for s in history)}"
        case += f" at {delta:g}"
        ours, theirs = epsilon_of(history, delta), pld_epsilon(history, delta)
        rows += [
            Row(case, "epsilon", ours, "", "PLD", ours / theirs),
            Row(case, "epsilon by PLD", theirs, ""),
            Row(case, "difference", ours - theirs, ""),
        ]
    return rows


def pld_epsilon(history: tuple[Spend, ...], delta: float) -> float:
    """ε at ``delta`` of all of ``history`` by privacy loss distributions, pessimistic."""
    steps = sum(spend.steps for spend in history)
    accountant = PLDAccountant(
        value_discretization_interval=min(_COARSEST, max(_FINEST, _GRID_ERROR / steps))
    )
    for spend in history:
        accountant.compose(SelfComposedDpEvent(_step(spend), spend.steps))
    return float(accountant.get_epsilon(delta))


def _step(spend: Spend) -> GaussianDpEvent | PoissonSampledDpEvent:
    gaussian = GaussianDpEvent(spend.noise_multiplier)
    if spend.sampling_rate == 1:
        return gaussian
    return PoissonSampledDpEvent(spend.sampling_rate, gaussian)
