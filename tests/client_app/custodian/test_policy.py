from datetime import UTC, datetime, timedelta

import pytest

from client_app.custodian.policy import Facts, decide

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
GOOD = {"site": "alder", "now": NOW, "patients": 24, "classes": 2, "declared": 20, "consent_asked": NOW}

RENAMED = "a researcher renames patients by a task's options, so that they seem to have spent nothing"

# Each rule, in the order in which they are asked, with a study and facts that it alone objects to.
OBJECTIONS = {
    "not-a-participant": ({}, {"site": "zelkova"}),
    "study-expired": ({"expires": "2026-02-28"}, {}),
    "purpose-not-allowed": ({"purpose": "marketing"}, {}),
    "task-not-allowed": ({"task": {"package": "circles"}}, {}),
    "task-options-not-allowed": ({"task": {"options": {"patients": 30}}}, {}),
    "network-not-allowed": ({"model": {"network": "torchvision.ResNet18"}}, {}),
    "privacy-mode-not-allowed": ({"privacy": {"mode": "none"}}, {}),
    "metrics-not-allowed": ({"evaluation": {"epsilon": 8.0}}, {}),
    "epsilon-too-large": ({"privacy": {"epsilon": 10.5}}, {}),
    "delta-too-large": ({"privacy": {"delta": 2e-4}}, {}),
    "too-few-hospitals": ({"quorum": 1}, {}),
    "outside-hours": ({}, {"now": datetime(2026, 3, 1, 3, tzinfo=UTC)}),
    "consent-too-old": ({}, {"consent_asked": NOW - timedelta(hours=34)}),
    "cohort-too-small": ({}, {"patients": 19}),
    "cohort-of-one-class": ({}, {"classes": 1}),
    "declared-size-off": ({}, {"declared": 49}),
    "delta-too-large-for-cohort": ({"privacy": {"delta": 9e-5}}, {"patients": 12_000, "declared": 11_200}),
    "held-out-too-few": ({}, {"held_out": 19}),
}


@pytest.fixture
def ask(make_site, make_study, no_privacy):
    """The answer of a hospital that accepts only private studies."""
    hours = {"start": "06:00", "end": "22:00"}
    changes = {
        "privacy_modes": ["local"],
        "minimum_hospitals": 2,
        "hours": hours,
        "metrics": [],
        "task_options": {},
        "consent_hours": 24,
    }
    policy = make_site(policy=changes).policy

    def answer(study=None, facts=None):
        study = {"quorum": 2, **(study or {})}
        if study.get("privacy", {}).get("mode") == "none":
            study["privacy"] = no_privacy
            study["evaluation"] = study.get("evaluation") and {}
        return decide(policy, make_study(**study), Facts(**GOOD | (facts or {})))

    return answer


def test_a_study_that_meets_every_rule_is_allowed(ask):
    assert ask().allowed
    assert ask({"expires": "2026-03-01"}).allowed, "the last day is a day"
    assert ask({"privacy": {"epsilon": 10.0, "delta": 1e-4}}, {"patients": 20}).allowed, "limits are allowed"
    assert ask({}, {"consent_asked": NOW - timedelta(hours=24)}).allowed, "and so is that of consent"


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
    for rule in list(OBJECTIONS)[:8]:
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


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ({"patients": 30, "one_class": False}, True),
        ({"patients": 40, "one_class": False}, True),
        ({"patients": 30}, False),
        ({"patients": 31, "one_class": False}, False),
        ({"patients": 30.0, "one_class": False}, False),
        ({"patients": 30, "one_class": 0}, False),
        ({"patients": 30, "one_class": False, "fails_with": ""}, False),
    ],
    ids=[
        "as asked",
        "another that is asked for",
        "left out",
        "another value",
        "a float",
        "a number",
        "not named",
    ],
)
@pytest.mark.attack(RENAMED, held_by="a policy names the options that a study has to give its task")
def test_a_study_gives_its_task_the_options_that_the_hospital_asks_for(
    options, allowed, make_site, make_study
):
    policy = make_site(policy={"task_options": {"patients": [30, 40], "one_class": [False]}}).policy
    decision = decide(policy, make_study(task={"options": options}), Facts(**GOOD))
    assert (decision.rule == "task-options-not-allowed") is not allowed


@pytest.mark.mutant(RENAMED, "task_options: any")
def test_where_any_option_goes_patients_can_be_renamed(make_site, make_study):
    study = make_study(task={"options": {"patients": 31}})
    assert decide(make_site(policy={"task_options": "any"}).policy, study, Facts(**GOOD)).allowed


@pytest.mark.mutant(RENAMED, "values that are equal, however they are written")
def test_a_task_that_names_patients_by_its_options_takes_equal_values_for_others(make_site, make_study):
    study = make_study(task={"options": {"patients": 30.0, "one_class": False}})
    options = study.task.options
    assert options["patients"] in (30, 40)
    assert f"{options['patients']}-7" != "30-7"


@pytest.mark.parametrize(
    ("purpose", "allowed"),
    [
        ("Is it [really] pneumonia?", True),
        ("Is it [really] pneumonia!", False),
        ("Is it r pneumonia?", False),
        ("research on pneumonia, in children", True),
        ("no research on pneumonia", False),
    ],
)
def test_a_star_stands_for_any_text_and_nothing_else_does(purpose, allowed, make_site, make_study):
    policy = make_site(policy={"purposes": ["Is it [really] pneumonia?", "research on pneumonia*"]}).policy
    decision = decide(policy, make_study(purpose=purpose), Facts(**GOOD))
    assert (decision.rule == "purpose-not-allowed") is not allowed


def test_the_larger_of_two_epsilons_is_held_against_the_limit(make_site, make_study):
    study = make_study(evaluation={"epsilon": 10.5})
    decision = decide(make_site().policy, study, Facts(**GOOD))
    assert (decision.rule, "ε=10.5" in decision.reason) == ("epsilon-too-large", True)


@pytest.mark.parametrize("held_out", [0, 7, 19])
def test_held_out_patients_below_the_minimum_are_never_counted(held_out, ask):
    reason = ask(facts={"held_out": held_out}).reason
    assert reason == "fewer than this hospital's minimum of 20 held-out patients"
