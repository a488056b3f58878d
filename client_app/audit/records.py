"""What an audit finds, as records that can be kept and shown."""

from typing import Literal

from federation.schema import Frozen

CheckName = Literal["canaries", "noise size", "noise apart", "noise everywhere", "sensitivity"]


class Check(Frozen):
    """One test of the protection's code.

    Attributes:
        name: which.
        passed: whether the code may be trusted with patients, as far as this test sees.
        found: the number that decided.
        limit: what it was held against.
        reason: the same in words.
    """

    name: CheckName
    passed: bool
    found: float
    limit: float
    reason: str


class CanaryGame(Frozen):
    """How well canaries were found, and what that proves.

    Attributes:
        canaries: how many there were, each put in by a fair coin.
        guesses: how many of them were named.
        right: how many of these guesses were right.
        promised: ε that the noise was set for.
        delta: δ that both ε are stated at.
        at_least: ε that the guesses prove the code to have, with ``confidence``.
        confidence: such as .95.
    """

    canaries: int
    guesses: int
    right: int
    promised: float
    delta: float
    at_least: float
    confidence: float


class Contribution(Frozen):
    """What one synthetic patient moved the sum by.

    Attributes:
        images: how many the patient had.
        share: of the clipping norm; 1 is all that is allowed.
    """

    images: int
    share: float


class Rehearsal(Frozen):
    """What became of a study's own protection, tried on synthetic patients.

    Attributes:
        checks: every test, in the order in which they were made.
        game: the canaries.
        contributions: what single patients moved the sum by, through the study's network.
        noise_multiplier: of the study.
        noise_found: the same, measured.
    """

    checks: tuple[Check, ...]
    game: CanaryGame
    contributions: tuple[Contribution, ...]
    noise_multiplier: float
    noise_found: float

    @property
    def passed(self) -> bool:
        """Whether every test was passed."""
        return all(check.passed for check in self.checks)

    @property
    def failures(self) -> str:
        """What failed, and why, in a sentence; empty if all is well."""
        return "; ".join(f"{check.name}: {check.reason}" for check in self.checks if not check.passed)
