"""What (epsilon, delta) lets somebody guess: whether one patient took part, at even odds beforehand."""

import math


def best_guess(epsilon: float, delta: float) -> float:
    """The largest share of right guesses that (epsilon, delta) leaves to anybody, whatever they know.

    Unit: a patient; adjacency: add or remove one patient. The guesser knows all other patients, sees all
    that was released, and finds the patient in or out with even odds. A test's true and false positive
    rates obey tpr <= e^epsilon fpr + delta, and likewise for their complements (Kairouz, Oh & Viswanath
    2015, theorem 2.1); (1 + tpr - fpr) / 2 is then largest at (e^epsilon + delta) / (e^epsilon + 1).
    """
    odds_against = math.exp(-epsilon)
    return min(1.0, (1 + delta * odds_against) / (1 + odds_against))


def gaussian_guess(epsilon: float, delta: float) -> float:
    """The largest share of right guesses if one release with Gaussian noise spent (epsilon, delta) exactly.

    The noise is that for which Balle & Wang (2018, theorem 8) give delta at epsilon; the best test of two
    Gaussians at distance mu is right in Phi(mu / 2) of the cases. Training subsamples and composes, so this
    is no bound for a study: it shows how much a single (epsilon, delta) leaves unsaid.
    """
    low, high = 0.0, 2 * math.sqrt(2 * (epsilon + 50)) + 50
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _gaussian_delta(middle, epsilon) < delta else (low, middle)
    return _normal(low / 2)


def _gaussian_delta(distance: float, epsilon: float) -> float:
    if distance <= 0:
        return 0.0
    shift = epsilon / distance
    return _normal(distance / 2 - shift) - math.exp(min(epsilon, 700)) * _normal(-distance / 2 - shift)


def _normal(x: float) -> float:
    return math.erfc(-x / math.sqrt(2)) / 2
