from datetime import UTC, datetime

import pytest

from client_app.custodian.policy import Facts, decide

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
GOOD = {"site": "alder", "now": NOW, "patients": 24, "classes": 2, "declared": 20}

# Each rule, in the order in which they are asked, with a study and facts that it alone objects to.
OBJECTIONS = {
    "not-a-participant": ({}, {"site": "zelkova"}),
    "study-expired": ({"expires": "2026-02-28"}, {}),
    "purpose-not-allowed": ({"purpose": "marketing"}, {}),
    "task-not-allowed": ({"task": {"package": "circles"}}, {}),
    "network-not-allowed": ({"model": {"network": "torchvision.ResNet18"}}, {}),
    "privacy-mode-not-allowed": ({"privacy": {"mode": "none"}}, {}),
    "epsilon-too-large": ({"privacy": {"epsilon": 10.5}}, {}),
    "delta-too-large": ({"privacy": {"delta": 2e-4}}, {}),
    "too-few-hospitals": ({"quorum": 1}, {}),
    "outside-hours": ({}, {"now": datetime(2026, 3, 1, 3, tzinfo=UTC)}),
    "cohort-too-small": ({}, {"patients": 19}),
    "cohort-of-one-class": ({}, {"classes": 1}),
    "declared-size-off": ({}, {"declared": 49}),
    "delta-too-large-for-cohort": ({"privacy": {"delta": 9e-5}}, {"patients": 12_000, "declared": 11_200}),
}


@pytest.fixture
def ask(make_site, make_study, no_privacy):
    """The answer of a hospital that accepts only private studies."""
    hours = {"start": "06:00", "end": "22:00"}
    policy = make_site(policy={"privacy_modes": ["local"], "minimum_hospitals": 2, "hours": hours}).policy

    def answer(study=None, facts=None):
        study = {"quorum": 2, **(study or {})}
        if study.get("privacy", {}).get("mode") == "none":
            study["privacy"] = no_privacy
        return decide(policy, make_study(**study), Facts(**GOOD | (facts or {})))

    return answer


def test_a_study_that_meets_every_rule_is_allowed(ask):
    assert ask().allowed
    assert ask({"expires": "2026-03-01"}).allowed, "the last day is a day"
    assert ask({"privacy": {"epsilon": 10.0, "delta": 1e-4}}, {"patients": 20}).allowed, "limits are allowed"


@pytest.mark.parametrize("rule", OBJECTIONS)
def test_each_rule_objects_by_its_name(rule, ask):
    decision = ask(*OBJECTIONS[rule])
    assert (decision.allowed, decision.rule) == (False, rule)


@pytest.mark.parametrize("position", range(len(OBJECTIONS) - 1))
def test_the_first_rule_that_objects_decides(position, ask):
    rules = list(OBJECTIONS)
    study, facts = {}, {}
    for rule in reversed(rules[position:]):  # so that an earlier rule has the facts it objects to
        for changes, more in zip((study, facts), OBJECTIONS[rule], strict=True):
            for key, value in more.items():
                changes[key] = changes.get(key, {}) | value if isinstance(value, dict) else value
    if rules[position] in ("epsilon-too-large", "delta-too-large"):
        study["privacy"].pop("mode", None)
    assert ask(study, facts).rule == rules[position]


@pytest.mark.parametrize("patients", [0, 1, 7, 13, 19])
def test_a_cohort_below_the_minimum_is_never_told(patients, ask):
    reason = ask(facts={"patients": patients}).reason
    assert reason == "fewer than this hospital's minimum of 20 patients"


@pytest.mark.parametrize("patients", [0, 7, 19])
def test_the_classes_of_a_cohort_below_the_minimum_are_never_told(patients, ask):
    assert ask(facts={"patients": patients, "classes": 1}).rule == "cohort-too-small"


def test_reasons_say_what_was_asked_and_what_is_allowed(ask):
    assert "ε=10.5" in ask({"privacy": {"epsilon": 10.5}}).reason
    assert "10.0" in ask({"privacy": {"epsilon": 10.5}}).reason
    assert "circles" in ask({"task": {"package": "circles"}}).reason


def test_before_the_cohort_is_known_only_rules_about_the_study_are_asked(ask):
    unknown = {"patients": None, "classes": None, "declared": None}
    assert ask(facts=unknown).allowed
    for rule in list(OBJECTIONS)[:6]:
        study, facts = OBJECTIONS[rule]
        assert ask(study, unknown | facts).rule == rule


@pytest.mark.parametrize(
    ("patients", "declared", "allowed"),
    [
        (24, 12, True),
        (24, 48, True),
        (24, 11, False),
        (24, 49, False),
        (1000, 499, False),
        (1000, 2001, False),
    ],
)
def test_a_declared_size_may_be_off_by_a_factor_of_two_and_the_count_is_not_told(
    patients, declared, allowed, ask
):
    decision = ask(facts={"patients": patients, "declared": declared})
    assert decision.allowed == allowed
    assert str(patients) not in decision.reason


def test_delta_is_held_against_the_declared_size_alone(ask):
    study = {"privacy": {"delta": 1e-4}}
    assert ask(study, {"patients": 12_000, "declared": 9_999}).allowed
    decisions = [
        ask(study, {"patients": patients, "declared": 10_000}) for patients in (9_999, 10_001, 19_999)
    ]
    assert {decision.rule for decision in decisions} == {"delta-too-large-for-cohort"}
    assert len({decision.reason for decision in decisions}) == 1, "one patient more or less is not told"
