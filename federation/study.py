"""A study: everything that decides what is computed on patients' data, and nothing else.

Its canonical JSON has a SHA-256, the *study id*. Hospitals approve study ids, so two studies that differ in
anything that touches a patient differ in their id, and two spellings of one study share it.
"""

import hashlib
import json
import math
from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from federation.errors import ConfigError
from federation.schema import Frozen
from federation.secure_sum.parties import MOST_ROUNDS, Parties
from federation.tasks import Option

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
ModelVersion = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}-(round-\d{3,}|final)-[0-9a-f]{12}$")
]
Fraction = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
# More than anybody trains, and what accounting for sampled steps has memory for.
_MOST_STEPS = 1_000_000
# Far from where 32-bit numbers lose their precision or their range.
Moderate = Annotated[float, Field(ge=1e-6, le=1e6)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]

Argument = Option | tuple[Option | dict[str, Option], ...]
PrivacyMode = Literal["none", "local", "distributed"]
Aggregation = Literal["plain", "secure"]
Trainable = Literal["all", "last_block", "norm_and_head", "head"]


class StratumSpec(Frozen):
    """A harder part of the test images that always stands beside the whole: low < covariate <= high."""

    label: str
    covariate: Name
    low: float
    high: float


class BaselineSpec(Frozen):
    """The trivial classifier that stands beside the model: the larger the covariate, the more likely."""

    label: str
    covariate: Name


class TaskSpec(Frozen):
    """What is predicted, from what.

    Attributes:
        package: the installed folder that knows the data; see ``federation.tasks``.
        classes: the names of the classes, the healthy one first.
        channels: channels of an image, or numbers in a row of a table.
        image_size: height and width in pixels; empty for tables.
        options: handed to the task as they are.
        baseline: what a ruler would do.
        stratum: a harder part of the test images.
        rendered: the images are drawn, not acquired; every result says so.
    """

    name: Name
    package: Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_.]*$")]
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    channels: Annotated[int, Field(ge=1)]
    image_size: Annotated[tuple[int, ...], Field(max_length=3)]
    options: dict[str, Option] = Field(default_factory=dict)
    baseline: BaselineSpec | None = None
    stratum: StratumSpec | None = None
    rendered: bool = False


class ModelSpec(Frozen):
    """A network from the allow-list of ``federation.networks``.

    Attributes:
        arguments: handed to its constructor; sizes that follow from the task are filled in.
        trainable: which parameters learn; the others stay as the initial model has them.
        seed: of the random initial weights.
    """

    name: Name
    network: str
    arguments: dict[str, Argument] = Field(default_factory=dict)
    trainable: Trainable = "all"
    seed: Seed = 0


class PretrainingSpec(Frozen):
    """How the initial model comes to be, before any patient's data is touched.

    Attributes:
        source: ``random`` weights; weights trained on the task's generated ``phantom`` examples; or, for
            networks whose features are computed, public statistics of generated 1/f ``noise`` images.
        keep: ``features`` starts with a head of zeros, so that all it says of classes comes from patients;
            ``all`` keeps the head that the examples taught.
        examples: how many phantoms, or noise images.
        epochs: how often each is seen.
        learning_rate: of Adam.
        batch_size: phantoms a step.
        seed: of phantoms and shuffling.
    """

    source: Literal["random", "phantom", "noise"] = "random"
    keep: Literal["features", "all"] = "features"
    examples: Annotated[int, Field(ge=1)] = 6000
    epochs: Annotated[int, Field(ge=1)] = 5
    learning_rate: Positive = 1e-3
    batch_size: Annotated[int, Field(ge=1)] = 64
    seed: Seed = 0


class PrivacySpec(Frozen):
    """What each patient is promised.

    Attributes:
        mode: ``local``: each site's updates alone satisfy (ε, δ) against everybody, for the whole study;
            ``distributed``: what the secure sum gives satisfies it, against the coordinator and the sites
            that may collude with it, since every site adds a share of the noise (docs/decisions/0010);
            ``none``: no promise, for comparison and synthetic data.
        epsilon: ε of the whole study, unit patient, adjacency add or remove one patient.
        delta: δ of the same promise.
        clipping_norm: C, the most one patient can move a sum of gradients (L2).
        sampling_rate: q, the chance of each patient to be in a step (Poisson).
    """

    mode: PrivacyMode
    epsilon: Positive | None = None
    delta: Annotated[float, Field(gt=0, lt=1)] | None = None
    clipping_norm: Moderate | None = None
    sampling_rate: Fraction

    @model_validator(mode="after")
    def _complete(self) -> Self:
        given = [self.epsilon, self.delta, self.clipping_norm]
        if self.mode != "none" and None in given:
            raise ValueError(f"privacy.mode={self.mode} needs epsilon, delta and clipping_norm")
        if self.mode == "none" and given != [None] * 3:
            raise ValueError("privacy.mode=none promises nothing: leave out epsilon, delta, clipping_norm")
        return self


class StrategySpec(Frozen):
    """How the coordinator makes one model of the sites' updates; see ``server_app.strategy``.

    Attributes:
        learning_rate: of the server's step (fedavgm, fedadam, fedyogi).
        momentum: of the server's step (fedavgm), beta 1 of fedadam and fedyogi.
        second_moment: beta 2 of fedadam and fedyogi.
        adaptivity: tau of fedadam and fedyogi.
        proximal: mu of fedprox, the pull of each site's steps back to the global model.
    """

    name: Literal["fedavg", "fedavgm", "fedprox", "fedadam", "fedyogi"]
    learning_rate: Positive | None = None
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    second_moment: Annotated[float, Field(gt=0, lt=1)] | None = None
    adaptivity: Positive | None = None
    proximal: Positive | None = None

    @model_validator(mode="after")
    def _only_what_is_used(self) -> Self:
        adaptive = {"learning_rate", "momentum", "second_moment", "adaptivity"}
        used = {
            "fedavg": set(),
            "fedavgm": {"learning_rate", "momentum"},
            "fedprox": {"proximal"},
            "fedadam": adaptive,
            "fedyogi": adaptive,
        }[self.name]
        given = {key for key, value in self.model_dump(exclude={"name"}).items() if value is not None}
        if given != used:
            raise ValueError(
                f"strategy {self.name} takes {sorted(used) or 'no settings'}, not {sorted(given)}"
            )
        return self


class AugmentationSpec(Frozen):
    """How images are moved before a site learns from them; see ``client_app.training.augmentation``.

    Attributes:
        views: copies of each image, each moved in its own way; averaged before a patient is clipped.
        rotation: the largest angle, in degrees.
        shift: the largest shift along each axis, as a share of the image's side.
        mirror: whether left and right may change places, which no study of a heart's side should allow.
    """

    views: Annotated[int, Field(ge=1, le=64)]
    rotation: Annotated[float, Field(ge=0, le=180)]
    shift: Annotated[float, Field(ge=0, le=0.5)]
    mirror: bool


class TrainingSpec(Frozen):
    """What a site does in one round.

    Attributes:
        steps: optimiser steps a round; steps, not epochs, so that the cost is known beforehand.
        optimizer: of the site's steps; its state survives between rounds.
        learning_rate: of the site's steps.
        momentum: of sgd; adam uses its usual betas.
        class_weights: public weights of the classes in the loss.
        patient_images: ``one`` draws one of a patient's images for each step; left out, all are averaged.
            Either way a patient counts once, and costs the same.
        augmentation: left out, images stay as they are.
    """

    steps: Annotated[int, Field(ge=1, le=100_000)]
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: Moderate
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    class_weights: tuple[Moderate, ...] | None = None
    patient_images: Literal["one"] | None = None
    augmentation: AugmentationSpec | None = None


class EvaluationSpec(Frozen):
    """What hospitals tell of how the released model does on patients that nobody learnt from.

    Each tells how often every score occurs among them, with noise, and nothing of a single one.

    Attributes:
        epsilon: what that costs each of them, at the study's δ; None where the study promises nothing.
    """

    epsilon: Positive | None = None


class SecureSumSpec(Frozen):
    """How a study's secure sums are made; see ``federation.secure_sum``.

    Attributes:
        colluding: how many participants may be in league with the coordinator.
        dropouts: how many participants a round may lose; left out, one, or none where all are needed.
        lost_rounds: how many rounds may come to nothing, with too few hospitals, before the run ends.
        clip_bound: coordinates of what a site sends are clipped to ± this; left out, 16, which no sound
            update reaches, or with distributed noise 1000 clipping norms, as its patients' gradients are sent
            as a sum.
        weight_cap: sites with more declared patients count as if they had so many; with distributed noise
            sums have no weights.
    """

    colluding: Annotated[int, Field(ge=0)]
    dropouts: Annotated[int, Field(ge=0)] | None = None
    lost_rounds: Annotated[int, Field(ge=0)]
    clip_bound: Moderate | None = None
    weight_cap: Annotated[int, Field(ge=1, le=1_000_000)]


class Study(Frozen):
    """See the module.

    Attributes:
        rounds: how often sites train and the coordinator aggregates.
        tail: the released model is the average of this share of the last rounds' models.
        moving_average: given, the released model is instead the moving average over all rounds' models that
            keeps this share of itself each round.
        quorum: a round with fewer valid updates ends the run; with secure sums it is lost.
        expires: the last day on which hospitals may train for this study.
        start_from: the version of a model that the coordinator has, to start from instead of ``pretraining``.
        aggregation: how updates travel: ``plain``, each hospital's by itself, or in ``secure`` sums.
        secure_sum: given where they travel in sums.
        evaluation: of the released model at its hospitals; None for none.
        participants: the hospitals, by name.
    """

    name: Name
    title: str
    purpose: str
    expires: date | None = None
    start_from: ModelVersion | None = None
    task: TaskSpec
    model: ModelSpec
    pretraining: PretrainingSpec
    privacy: PrivacySpec
    strategy: StrategySpec
    training: TrainingSpec
    rounds: Annotated[int, Field(ge=1, le=100_000)]
    tail: Fraction = 0.5
    moving_average: Annotated[float, Field(gt=0, lt=1)] | None = None
    quorum: Annotated[int, Field(ge=1)]
    aggregation: Aggregation = "plain"
    secure_sum: SecureSumSpec | None = None
    evaluation: EvaluationSpec | None = None
    participants: Annotated[tuple[Name, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.participants)) != len(self.participants):
            raise ValueError(f"study.participants={list(self.participants)} names a hospital twice")
        if self.quorum > len(self.participants):
            raise ValueError(
                f"quorum={self.quorum} can never be met by {len(self.participants)} participants; lower it"
            )
        if self.total_steps > _MOST_STEPS:
            raise ValueError(
                f"rounds={self.rounds} of training.steps={self.training.steps} are more than {_MOST_STEPS:,} "
                "steps; lower one of them"
            )
        if self.training.augmentation is not None and not self.task.image_size:
            raise ValueError(f"training.augmentation moves images, and task {self.task.name} has none")
        if self.evaluation is not None and (self.evaluation.epsilon is None) != (
            self.privacy.epsilon is None
        ):
            raise ValueError(
                f"evaluation.epsilon={self.evaluation.epsilon}, privacy.epsilon={self.privacy.epsilon}: "
                "give both, or neither"
            )
        self._require_sums()
        weights = self.training.class_weights
        if weights is not None and len(weights) != len(self.task.classes):
            raise ValueError(
                f"training.class_weights={list(weights)} must have one weight for each of the classes "
                f"{list(self.task.classes)}"
            )
        return self

    def _require_sums(self) -> None:
        """That what is summed, and what hangs on it, goes together."""
        if (self.aggregation == "secure") != (self.secure_sum is not None):
            raise ValueError(
                f"aggregation={self.aggregation} "
                f"{'needs' if self.secure_sum is None else 'has no'} secure_sum; choose aggregation=secure "
                "or aggregation=plain as a whole"
            )
        parties = self.parties  # which has its own reasons to refuse
        if parties is not None and self.rounds >= MOST_ROUNDS:
            # The evaluation's sum has a number of its own, behind them.
            raise ValueError(
                f"rounds={self.rounds} with aggregation=secure: sums have numbers up to {MOST_ROUNDS:,}, and "
                f"the evaluation needs one; at most {MOST_ROUNDS - 1:,}"
            )
        if self.privacy.mode != "distributed":
            return
        if parties is None or self.training.steps != 1:
            raise ValueError(
                f"privacy.mode=distributed with aggregation={self.aggregation} and "
                f"training.steps={self.training.steps}: its noise is in secure sums, of one step each; "
                "choose aggregation=secure and training.steps=1, or privacy=local"
            )
        if not parties.colluding:
            raise ValueError(
                "privacy.mode=distributed with secure_sum.colluding=0: every site knows its own share of the "
                "noise, so at least one has to be reckoned with; secure_sum.colluding=1"
            )

    @property
    def parties(self) -> Parties | None:
        """The participants of its secure sums, counted; None where there are none.

        Raises:
            ConfigError: no sum over them would hide anybody.
        """
        spec = self.secure_sum
        if spec is None:
            return None
        try:
            return Parties.of(len(self.participants), spec.colluding, spec.dropouts)
        except ConfigError as error:
            plain = "aggregation=plain"
            if self.privacy.mode == "distributed":
                plain += " with privacy=local"  # since shared noise needs sums
            raise ConfigError(f"secure_sum: {error}; or {plain}") from error

    @property
    def fewest_hospitals(self) -> int:
        """The fewest that anything goes on with: as sites enforce it themselves, else as the quorum says."""
        return self.quorum if self.parties is None else self.parties.min_survivors

    @property
    def canonical_json(self) -> str:
        """The study as JSON with sorted keys and no spaces; equal studies give equal text.

        What a study leaves out is left out here, so that a later setting leaves earlier studies their ids.
        """
        values = self.model_dump(mode="json", exclude_none=True)
        return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @property
    def id(self) -> str:
        """SHA-256 of the canonical JSON, 64 hex digits."""
        return hashlib.sha256(self.canonical_json.encode()).hexdigest()

    @property
    def total_steps(self) -> int:
        """Steps a site runs when it takes part in every round."""
        return self.rounds * self.training.steps

    @property
    def tail_rounds(self) -> int:
        """How many of the last rounds' models the released one is the average of."""
        # Rounded first, since 100 * 0.07 is a little more than 7 in floating point.
        return math.ceil(round(self.rounds * self.tail, 9))
