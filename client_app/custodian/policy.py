"""What a hospital allows, and the one place that says yes or no.

``decide`` is a pure function of the hospital's policy, the study and a few facts. It can only tighten: there
is nothing in a policy that a study could not be refused without.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, model_validator

from federation.accounting import RdpFilter
from federation.errors import PrivacyError, RefusedError
from federation.promise import largest_epsilon, largest_local_epsilon
from federation.schema import Frozen
from federation.study import Aggregation, PrivacyMode, Study
from federation.tasks import Option

# Who looks at what a study releases.
Against = Literal["everybody", "coordinator"]
# A declared cohort size is a constant, and cohorts grow; further off than this it is a mistake.
_MOST_OFF = 2


class Hours(Frozen):
    """A part of every day, from the first time to the second; it may go over midnight.

    Attributes:
        start: the first moment.
        end: the first moment after it.
        zone: whose clock, e.g. ``Europe/Zurich``.
    """

    start: time
    end: time
    zone: str = "UTC"

    @model_validator(mode="after")
    def _zone_is_known(self) -> Self:
        try:
            ZoneInfo(self.zone)
        except (ValueError, ZoneInfoNotFoundError) as error:
            raise ValueError(f"there is no time zone {self.zone!r}; e.g. UTC or Europe/Zurich") from error
        return self

    def hold(self, moment: datetime) -> bool:
        """Whether ``moment`` lies in it."""
        there = moment.astimezone(ZoneInfo(self.zone)).time()
        if self.start <= self.end:
            return self.start <= there < self.end
        return there >= self.start or there < self.end

    def __str__(self) -> str:
        return f"{self.start:%H:%M} to {self.end:%H:%M} {self.zone}"


class Lifetime(Frozen):
    """The most that a patient may ever give, over all studies that touch their data here.

    Attributes:
        epsilon: ε of everything together.
        delta: δ of the same.
        against: who is looking: ``everybody``, or the ``coordinator`` with the sites that collude with it.
    """

    epsilon: Annotated[float, Field(gt=0)]
    delta: Annotated[float, Field(gt=0, lt=1)]
    against: Against

    @model_validator(mode="after")
    def _some_study_fits(self) -> Self:
        try:
            RdpFilter(self.epsilon, self.delta)
        except PrivacyError as error:
            raise ValueError(str(error)) from error
        return self


class Policy(Frozen):
    """What the hospital allows; anything it does not name is refused.

    Attributes:
        purposes: what studies may be for, as they say it; ``*`` stands for any text.
        tasks: the packages of the tasks that may be trained; no other package's code is even loaded.
        task_options: the values that a study has to give each of these options of its task; an option that is
            not named is refused, since it may say who is one patient. ``any`` is for public data.
        networks: the networks that may learn, e.g. ``monai.*``.
        privacy_modes: the promises to patients that are good enough.
        aggregation: how updates may travel: in ``secure`` sums only, or also ``plain``, each by itself.
        minimum_colluding: a study with secure sums that reckons with fewer hospitals in league with the
            coordinator than this is refused.
        metrics: what may be told of held-out patients: ``score_histograms``, with noise.
        maximum_epsilon: the most that one study may cost a patient, before whom ``lifetime`` says.
        maximum_delta: the largest δ that ε may be stated at.
        lifetime: the most that all studies together may cost a patient.
        minimum_patients: fewer training patients than this, and the hospital stays out; fewer held-out ones,
            and nothing is told of them.
        minimum_hospitals: a study that goes on with fewer is refused.
        hours: when it may train; None is always.
        consent_hours: the longest ago, in hours, that the ingest may have asked whose data may be used; None
            for data that no ingest keeps up with consent.
    """

    purposes: tuple[str, ...]
    tasks: tuple[str, ...]
    task_options: dict[str, tuple[Option, ...]] | Literal["any"] = Field(default_factory=dict)
    networks: tuple[str, ...]
    privacy_modes: tuple[PrivacyMode, ...]
    aggregation: tuple[Aggregation, ...]
    minimum_colluding: Annotated[int, Field(ge=0)] = 1
    metrics: tuple[Literal["score_histograms"], ...] = ()
    maximum_epsilon: Annotated[float, Field(gt=0)]
    maximum_delta: Annotated[float, Field(gt=0, lt=1)]
    lifetime: Lifetime
    minimum_patients: Annotated[int, Field(ge=1)]
    minimum_hospitals: Annotated[int, Field(ge=1)]
    hours: Hours | None = None
    consent_hours: Annotated[float, Field(gt=0)] | None = None


@dataclass(frozen=True)
class Facts:
    """What a decision depends on besides policy and study.

    Attributes:
        site: the hospital's name.
        now: with its time zone.
        patients: training patients who have consented and have budget left; None before the cohort is
            opened, and then no rule asks about it.
        classes: how many of the study's classes occur among them; None as for ``patients``.
        declared: the public cohort size; None as for ``patients``.
        held_out: held-out patients who have consented and have budget left; None where nobody asks of them.
        consent_asked: when the ingest last asked whose data may be used, with its time zone; None if never.
    """

    site: str
    now: datetime
    patients: int | None
    classes: int | None
    declared: int | None
    held_out: int | None = None
    consent_asked: datetime | None = None


@dataclass(frozen=True)
class Decision:
    """Allowed or not, by which rule, and what the hospital is willing to say about it.

    The reason never tells a count below the hospital's minimum.
    """

    allowed: bool
    rule: str
    reason: str

    def require(self) -> None:
        """Raise RefusedError unless it is allowed."""
        if not self.allowed:
            raise RefusedError(self.rule, self.reason)


@dataclass(frozen=True)
class Rule:
    """One rule, and whether it objects."""

    name: str
    objects: bool
    reason: str


def decide(policy: Policy, study: Study, facts: Facts) -> Decision:
    """The hospital's answer to ``study``; the first rule that objects decides."""
    rules = [*_about_the_study(policy, study, facts)]
    if facts.patients is not None and facts.classes is not None and facts.declared is not None:
        rules += _about_the_cohort(policy, study, facts.patients, facts.classes, facts.declared)
    if facts.held_out is not None:
        rules.append(_about_the_held_out(policy, facts.held_out))
    for rule in rules:
        if rule.objects:
            return Decision(allowed=False, rule=rule.name, reason=rule.reason)
    return Decision(allowed=True, rule="allowed", reason="every rule is met")


def _about_the_study(policy: Policy, study: Study, facts: Facts) -> Iterable[Rule]:
    privacy = study.privacy
    yield Rule(
        "not-a-participant",
        facts.site not in study.participants,
        f"the study names {list(study.participants)}, not {facts.site}",
    )
    yield Rule(
        "study-expired",
        study.expires is not None and facts.now.astimezone(UTC).date() > study.expires,
        f"the study ended on {study.expires}",
    )
    yield Rule(
        "purpose-not-allowed",
        not _named(study.purpose, policy.purposes),
        f"the purpose {study.purpose!r} is not among the accepted {list(policy.purposes)}",
    )
    yield Rule(
        "task-not-allowed",
        study.task.package not in policy.tasks,
        f"task package {study.task.package} is not among the allowed {list(policy.tasks)}; whoever runs "
        "the hospital adds it to policy.tasks once its code was read",
    )
    yield Rule(
        "task-options-not-allowed",
        not _options_allowed(policy, study.task.options),
        f"the task options {study.task.options} are not those that this hospital asks for",
    )
    yield Rule(
        "network-not-allowed",
        not _named(study.model.network, policy.networks),
        f"network {study.model.network} is not among the allowed {list(policy.networks)}",
    )
    yield Rule(
        "privacy-mode-not-allowed",
        privacy.mode not in policy.privacy_modes,
        f"privacy={privacy.mode} is not among the accepted {list(policy.privacy_modes)}",
    )
    yield Rule(
        "aggregation-not-allowed",
        study.aggregation not in policy.aggregation,
        f"aggregation={study.aggregation} is not among the accepted {list(policy.aggregation)}",
    )
    yield Rule(
        "metrics-not-allowed",
        study.evaluation is not None and "score_histograms" not in policy.metrics,
        "this hospital tells nothing of held-out patients; leave evaluation out",
    )
    yield from _about_epsilon(policy, study)
    yield Rule(
        "delta-too-large",
        privacy.delta is not None and privacy.delta > policy.maximum_delta,
        f"δ={privacy.delta} is above this hospital's limit of {policy.maximum_delta}",
    )
    yield Rule(
        "too-few-hospitals",
        study.fewest_hospitals < policy.minimum_hospitals,
        f"a round goes on with {study.fewest_hospitals} hospitals, fewer than the {policy.minimum_hospitals} "
        "that this one asks for",
    )
    parties = study.parties
    yield Rule(
        "too-few-colluding",
        parties is not None and parties.colluding < policy.minimum_colluding,
        f"secure_sum.colluding is below the {policy.minimum_colluding} that this hospital reckons with",
    )
    yield Rule(
        "outside-hours",
        policy.hours is not None and not policy.hours.hold(facts.now),
        f"this hospital trains from {policy.hours}",
    )
    if policy.consent_hours is not None:
        yield Rule(
            "consent-too-old",
            not _is_fresh(facts, timedelta(hours=policy.consent_hours)),
            f"this hospital has not asked within {policy.consent_hours:g} hours whose data may be used; its "
            "people run wardround-site ingest consent",
        )


def _is_fresh(facts: Facts, limit: timedelta) -> bool:
    """Whether consent was asked for within ``limit``; a time that is yet to come is a clock's mistake."""
    return facts.consent_asked is not None and abs(facts.now - facts.consent_asked) <= limit


def _about_epsilon(policy: Policy, study: Study) -> Iterable[Rule]:
    """That one study does not cost too much before whom the policy looks at."""
    asked, against = largest_epsilon(study), policy.lifetime.against
    refused = asked is not None and asked > policy.maximum_epsilon
    told = f"ε={asked}"
    if study.privacy.mode == "distributed" and against == "everybody" and not refused:
        local = largest_local_epsilon(study)
        refused = local is None or local > policy.maximum_epsilon
        told = f"ε={'without bound' if local is None else f'{local:.3g}'} before everybody"
    yield Rule(
        "epsilon-too-large",
        refused,
        f"{told} is above this hospital's limit of {policy.maximum_epsilon} a study",
    )


def _about_the_cohort(
    policy: Policy, study: Study, patients: int, classes: int, declared: int
) -> Iterable[Rule]:
    delta = study.privacy.delta
    yield Rule(
        "cohort-too-small",
        patients < policy.minimum_patients,
        f"fewer than this hospital's minimum of {policy.minimum_patients} patients",
    )
    yield Rule(
        "cohort-of-one-class",
        classes < len(study.task.classes),
        f"not every one of the classes {list(study.task.classes)} occurs",
    )
    yield Rule(
        "declared-size-off",
        not size_fits(patients, declared),
        f"the hospital's declared_patients is off by more than a factor of {_MOST_OFF}; whoever runs the "
        "hospital sets it anew",
    )
    yield Rule(
        # Of the declared size, since an answer that hangs on the exact count would tell one patient more.
        "delta-too-large-for-cohort",
        delta is not None and delta * declared >= 1,
        f"δ={delta} is not below one in the patients that this hospital declares, and would "
        "allow to give one of them away; lower privacy.delta",
    )


def _about_the_held_out(policy: Policy, patients: int) -> Rule:
    return Rule(
        "held-out-too-few",
        patients < policy.minimum_patients,
        f"fewer than this hospital's minimum of {policy.minimum_patients} held-out patients",
    )


def _options_allowed(policy: Policy, options: Mapping[str, Option]) -> bool:
    allowed = policy.task_options
    if allowed == "any":
        return True
    return options.keys() <= allowed.keys() and all(
        # As they are written: True, 1 and 1.0 are equal, and a task may name patients by what it is given.
        repr(options.get(name)) in map(repr, values)
        for name, values in allowed.items()
    )


def size_fits(patients: int, declared: int) -> bool:
    """Whether a declared cohort size is about right."""
    # The least that is ever declared without a setting is one step of ten, whatever the count.
    return patients / _MOST_OFF <= declared <= max(10, _MOST_OFF * patients)


def _named(value: str, patterns: tuple[str, ...]) -> bool:
    return any(
        re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), value, re.DOTALL) for pattern in patterns
    )
