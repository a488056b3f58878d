"""What one run of a mechanism proves about its privacy at least.

Mahloujifar, Melis & Chaudhuri 2024 (2410.22235), the procedure for guessers who may abstain (there
``audit_rh_with_cap``), which sharpens Steinke, Nasr & Jagielski 2023 (2305.08846) by testing a whole
trade-off curve in place of one (ε, δ). The game: each of m canaries is put in by a fair coin; whoever sees
the result names g of them and says of each whether it was in.

Let p_i be the probability of exactly i right guesses, r_i = Σ_{j>=i} j p_j / m and
h_i = Σ_{j>=i} (g - j) p_j / m. A mechanism with trade-off curve f has r_i <= 1 - f(h_i) for every i (their
bound for sets of outcomes, here the sets {i, ..., g}, two outcomes a canary), and r_0 + h_0 = g / m. If c or
more right guesses had a probability of τ, the sums would begin at r_c = τ c / m and h_c = τ (g - c) / m; each
inequality then pushes h_{i-1}, and with it r_{i-1}, up, and if they end above g / m, then c right guesses are
less likely than τ.

Unit: a canary, which stands for a patient; adjacency: add or remove one.
"""

from scipy.special import ndtr, ndtri

from federation.accounting import epsilon_spent
from federation.errors import PrivacyError

# Two unit Gaussians further apart than this can be told apart for sure.
_FURTHEST = 20.0
_RESOLUTION = 1e-3


def epsilon_at_least(canaries: int, guesses: int, right: int, delta: float, confidence: float) -> float:
    """The ε that a Gaussian mechanism behind these guesses has at least, at ``delta``.

    Guarantee: a mechanism whose trade-off curve is that of some Gaussian mechanism with a smaller ε gives so
    many right guesses with a probability of at most 1 - ``confidence``. Assumption: coins are fair,
    independent, and unknown to mechanism and guesser; ``guesses`` does not depend on the result.

    Args:
        canaries: m, how many there are.
        guesses: how many of them were named.
        right: how many of these guesses were right.
        delta: δ that ε is stated at.
        confidence: such as .95.

    Raises:
        PrivacyError: the counts do not belong together.
    """
    if not 0 <= right <= guesses <= canaries or guesses == 0:
        raise PrivacyError(f"{right} right of {guesses} guesses at {canaries} canaries: no such game exists")
    distance = _distance_at_least(canaries, guesses, right, 1 - confidence)
    return 0.0 if distance == 0 else epsilon_spent(1 / distance, 1.0, 1, delta)


def _distance_at_least(canaries: int, guesses: int, right: int, doubt: float) -> float:
    """The largest μ, to ``_RESOLUTION``, that so many right guesses refute for a μ-Gaussian curve."""
    low, high = 0.0, _FURTHEST
    while high - low > _RESOLUTION:
        middle = (low + high) / 2
        low, high = (middle, high) if _refuted(middle, canaries, guesses, right, doubt) else (low, middle)
    return low


def _refuted(distance: float, canaries: int, guesses: int, right: int, doubt: float) -> bool:
    """Whether so many right guesses have a probability below ``doubt``, for curve Φ(Φ^-1(1 - x) - μ)."""
    whole = guesses / canaries
    r = doubt * right / canaries
    h = doubt * (guesses - right) / canaries
    for i in range(right - 1, -1, -1):
        pushed = float(ndtr(ndtri(r) - distance))
        if pushed <= h:  # then nothing moves any more
            break
        r, h = r + i / (guesses - i) * (pushed - h), pushed
        if r + h > whole:
            return True
    return False
