"""What an audit finds, as records that can be kept and shown."""

from datetime import datetime
from typing import Literal

from federation.schema import Frozen
from federation.study import PrivacyMode

CheckName = Literal["canaries", "noise size", "noise apart", "noise everywhere", "sensitivity", "noise share"]
AttackName = Literal["calibrated", "plain"]


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
        noise_found: the same, measured; where noise is distributed, on a share of it.
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


class MembershipAttack(Frozen):
    """How well an attack told training patients from others.

    Attributes:
        members: training patients that were asked about.
        others: held-out patients that were asked about.
        auc: how often a member scored above another; .5 is a coin.
        auc_interval: 95 %.
        false_alarms: the share of others that may be taken for members.
        found: the share of members that are then found.
        found_interval: 95 %.
        roc: shares of others and of members found, over all thresholds.
    """

    members: int
    others: int
    auc: float
    auc_interval: tuple[float, float]
    false_alarms: float
    found: float
    found_interval: tuple[float, float]
    roc: tuple[tuple[float, ...], tuple[float, ...]]


class Inversion(Frozen):
    """How much of an image came out of the update that it caused.

    Attributes:
        iterations: of the attack's search.
        noise_multiplier: of the protected update as the coordinator sees it; None without privacy, and then
            nothing was protected.
        constant_psnr: dB of a grey area of the image's mean: what is reached without knowing anything.
        bare_psnr: dB of the image rebuilt from the update as it is.
        protected_psnr: dB of the one rebuilt from the clipped and noised update.
    """

    iterations: int
    noise_multiplier: float | None
    constant_psnr: float
    bare_psnr: float
    protected_psnr: float | None


class Membership(Frozen):
    """What two attacks found out from a released model.

    Attributes:
        version: of the model.
        hospitals: whose patients were asked about.
        reference: which model it was compared with, in words.
        attacks: by name.
    """

    version: str
    hospitals: tuple[str, ...]
    reference: str
    attacks: dict[AttackName, MembershipAttack]


class PrivacyAudit(Frozen):
    """``privacy-audit.json``.

    Attributes:
        title: the study's.
        study_id: of the study that was audited.
        made: UTC.
        epsilon: promised to each patient; None without a promise.
        delta: of the same promise.
        mode: by which means it is kept.
        rests_on: whom it holds against, and what it assumes; empty without a promise.
        fewest_in_sum: the coordinator sees sums over so many hospitals or more; None: each update by itself.
        clipping_norm: C.
        sampling_rate: q.
        steps: of the whole study at a hospital.
        rehearsal: None where there is no promise to rehearse.
        inversion: None where the task has no flat images.
        membership: None where no released model was given.
    """

    title: str
    study_id: str
    made: datetime
    epsilon: float | None
    delta: float | None
    mode: PrivacyMode
    rests_on: str
    fewest_in_sum: int | None
    clipping_norm: float | None
    sampling_rate: float
    steps: int
    rehearsal: Rehearsal | None
    inversion: Inversion | None
    membership: Membership | None
