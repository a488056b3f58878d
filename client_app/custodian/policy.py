"""The one place that says yes or no: a pure function of the hospital's policy, the study and a few facts."""

from dataclasses import dataclass
from datetime import date

from client_app.site import Policy
from federation.study import Study

# A declared cohort size is a constant, and cohorts grow; further off than this it is a mistake.
_MOST_OFF = 2


@dataclass(frozen=True)
class Facts:
    """What a decision depends on besides policy and study.

    Attributes:
        site: the hospital's name.
        today: in UTC.
        patients: training patients; None before the cohort is opened, and then no rule asks about it.
        classes: how many of the study's classes occur among them; None as for ``patients``.
        declared: the public cohort size; None as for ``patients``.
    """

    site: str
    today: date
    patients: int | None
    classes: int | None
    declared: int | None


@dataclass(frozen=True)
class Decision:
    """Allowed or not, by which rule, and what the hospital is willing to say about it.

    The reason never tells a count below the hospital's minimum.
    """

    allowed: bool
    rule: str
    reason: str


def decide(policy: Policy, study: Study, facts: Facts) -> Decision:
    """The hospital's answer to ``study``; the first rule that objects decides."""
    privacy = study.privacy
    objections = (
        (
            "not-a-participant",
            facts.site not in study.participants,
            f"the study names {list(study.participants)}, not {facts.site}",
        ),
        (
            "study-expired",
            study.expires is not None and facts.today > study.expires,
            f"the study ended on {study.expires}",
        ),
        (
            "task-not-allowed",
            study.task.package not in policy.tasks,
            f"task package {study.task.package} is not among the allowed {list(policy.tasks)}; whoever runs "
            "the hospital adds it to policy.tasks once its code was read",
        ),
        (
            "privacy-mode-not-allowed",
            privacy.mode not in policy.privacy_modes,
            f"privacy={privacy.mode} is not among the accepted {list(policy.privacy_modes)}",
        ),
        (
            "epsilon-too-large",
            privacy.epsilon is not None and privacy.epsilon > policy.maximum_epsilon,
            f"ε={privacy.epsilon} is above this hospital's limit of {policy.maximum_epsilon} a study",
        ),
        (
            "delta-too-large",
            privacy.delta is not None and privacy.delta > policy.maximum_delta,
            f"δ={privacy.delta} is above this hospital's limit of {policy.maximum_delta}",
        ),
        (
            "cohort-too-small",
            facts.patients is not None and facts.patients < policy.minimum_patients,
            f"fewer than this hospital's minimum of {policy.minimum_patients} patients",
        ),
        (
            "cohort-of-one-class",
            facts.classes is not None and facts.classes < len(study.task.classes),
            f"not every one of the classes {list(study.task.classes)} occurs",
        ),
        (
            "declared-size-off",
            facts.patients is not None
            and facts.declared is not None
            # The least that is ever declared without a setting is one step of ten, whatever the count.
            and not facts.patients / _MOST_OFF <= facts.declared <= max(10, _MOST_OFF * facts.patients),
            f"the hospital's declared_patients is off by more than a factor of {_MOST_OFF}; whoever runs the "
            "hospital sets it anew",
        ),
        (
            # Of the declared size, since an answer that hangs on the exact count would tell one patient more.
            "delta-too-large-for-cohort",
            privacy.delta is not None and facts.declared is not None and privacy.delta * facts.declared >= 1,
            f"δ={privacy.delta} is not below one in the patients that this hospital declares, and would "
            "allow to give one of them away; lower privacy.delta",
        ),
    )
    for rule, objects, reason in objections:
        if objects:
            return Decision(allowed=False, rule=rule, reason=reason)
    return Decision(allowed=True, rule="allowed", reason="every rule is met")
