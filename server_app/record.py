"""What a run leaves behind, as typed records: ``summary.json`` and the lines of ``metrics.jsonl``."""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

from federation.against import APART, Against
from federation.study import Aggregation, PrivacyMode
from federation.unit import ADJACENCY, UNIT, Adjacency, Unit


class Entry(BaseModel):
    """A part of the record; written once, never changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Stratum(Entry):
    """The same measurement on a harder part of the test images."""

    label: str
    images: int
    auc: float | None
    auc_interval: tuple[float, float] | None


class Measurement(Entry):
    """How a classifier did on test patients; intervals are 95 %, bootstrapped over patients.

    Attributes:
        auc: area under the ROC curve; None where only one class was present.
        sensitivity: of the diseased, the share called diseased at a probability of one half.
        specificity: of the healthy, the share called healthy at a probability of one half.
        calibration_error: expected calibration error in 10 bins, from 0 (best) to 1.
        roc: the curve as (false positive rates, true positive rates).
    """

    patients: int
    images: int
    positives: int
    auc: float | None
    auc_interval: tuple[float, float] | None
    sensitivity: float | None = None
    specificity: float | None = None
    calibration_error: float | None = None
    roc: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    stratum: Stratum | None = None


class Guarantee(Entry):
    """What the whole study costs a patient before whoever is looking; see ``federation.against``.

    Attributes:
        title: who is looking, in words.
        epsilon: at the study's δ; None where nothing bounds it.
        assumption: what it rests on, in a sentence.
    """

    against: Against
    title: str
    epsilon: float | None
    assumption: str


class PrivacyStatement(Entry):
    """What was promised to each patient, and by which means.

    Attributes:
        aggregation: whether the coordinator sees each hospital's update (``plain``) or sums only.
        travel: the same in words, with how many hospitals are in a sum.
        guarantees: one for each who may be looking, the headline first.
    """

    mode: PrivacyMode
    aggregation: Aggregation = "plain"
    travel: str = APART
    guarantees: tuple[Guarantee, ...] = ()
    epsilon: float | None
    delta: float | None
    noise_multiplier: float | None
    clipping_norm: float | None
    sampling_rate: float
    unit: Unit = UNIT
    adjacency: Adjacency = ADJACENCY
    secret: Literal["operating system", "simulation seed"]


class SiteSummary(Entry):
    """One hospital's part in the run; ``description``, ``auc`` and the counts are known in simulation only.

    ``epsilon`` is what the steps really run have cost each of its patients at ``delta``.
    """

    description: str = ""
    patients: int
    steps: int
    rounds: int
    epsilon: float | None
    delta: float | None
    auc: float | None = None
    auc_interval: tuple[float, float] | None = None
    measurement: Measurement | None = None


class WithoutPrivacy(Entry):
    """The same recipe without clipping and noise: each hospital alone, all together, all patients pooled."""

    alone: dict[str, Measurement]
    together: Measurement
    pooled: Measurement


class Comparison(Entry):
    """The same recipe, measured on the same test patients of all hospitals; in simulation only.

    Attributes:
        alone: each hospital by itself, with the study's promise.
        pooled: as if all patients lay in one place, with the study's promise.
        without_privacy: None where the study promises nothing anyway, or a hospital's policy forbids it.
    """

    alone: dict[str, Measurement]
    pooled: Measurement
    without_privacy: WithoutPrivacy | None


class Absence(Entry):
    """A hospital that was asked and did not take part in a round, and why."""

    site: str
    reason: str


def absences(reasons: Mapping[str, str]) -> tuple[Absence, ...]:
    """Those who are not there, and why, as the record has them."""
    return tuple(Absence(site=site, reason=reason) for site, reason in reasons.items())


class HeldOut(Entry):
    """How the released model does on held-out patients, as the hospitals themselves tell it, with noise.

    Attributes:
        hospitals: who told.
        absent: who did not, and why.
        epsilon: what it cost each held-out patient at ``delta``; None without privacy.
        noise: standard deviation of the noise in each count, in patients; None without privacy.
        healthy: how many healthy patients have scores in each bin between ``BIN_EDGES``; empty where fewer
            hospitals told than the study's quorum.
        diseased: the same of the diseased.
        auc: of these counts; None where the noise leaves nothing to see.
        auc_interval: 95 %, of noise and chance.
        roc: the curve as (false positive rates, true positive rates).
    """

    hospitals: tuple[str, ...]
    absent: tuple[Absence, ...]
    epsilon: float | None
    delta: float | None
    noise: float | None
    healthy: tuple[float, ...] = ()
    diseased: tuple[float, ...] = ()
    auc: float | None = None
    auc_interval: tuple[float, float] | None = None
    roc: tuple[tuple[float, ...], tuple[float, ...]] | None = None


class Summary(Entry):
    """``summary.json``.

    Attributes:
        rounds: as planned; ``metrics.jsonl`` has a line for each that was done.
        resumed: at which of them the run was gone on with after it had been broken off, each time; one more
            than there are is the evaluation.
        simulation: all hospitals ran on one computer, and somebody looked at all of them.
        rendered: the images were drawn, not acquired.
        start_from: the version of the earlier study's model that this one started from.
        held_out: the released model on held-out patients, as the hospitals tell it; None if not asked for.
        pooled: the released model on all hospitals' test patients (simulation only), as are the next two.
    """

    study: str
    title: str
    study_id: str
    model_version: str
    status: Literal["completed", "failed", "interrupted"]
    reason: str = ""
    started: str
    seconds: float
    rounds: int
    resumed: tuple[int, ...] = ()
    simulation: bool
    seed: int | None
    classes: tuple[str, ...]
    rendered: bool
    privacy: PrivacyStatement
    sites: dict[str, SiteSummary]
    held_out: HeldOut | None = None
    pooled: Measurement | None = None
    baselines: dict[str, Measurement] = {}
    comparison: Comparison | None = None
    start_from: str | None = None


class RoundLine(Entry):
    """One round, a line of ``metrics.jsonl``.

    Attributes:
        epsilon: each site's cost so far.
        lost: why nothing came of the round, and the model stayed as it was; empty where something did.
    """

    event: Literal["round"] = "round"
    round: int
    seconds: float
    participants: tuple[str, ...]
    absent: tuple[Absence, ...]
    epsilon: dict[str, float | None]
    model_sha256: str
    lost: str = ""


class EvaluationLine(Entry):
    """How the global model after a round did on test patients, a line of ``metrics.jsonl`` (simulation).

    Round 0 is the initial model, before any patient's data.
    """

    event: Literal["evaluation"] = "evaluation"
    round: int
    pooled: Measurement
    sites: dict[str, Measurement]
