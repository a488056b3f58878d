import json
from functools import cache

import pytest
from pydantic import ValidationError

from federation.config import compose_run
from federation.errors import ConfigError
from federation.secure_sum.parties import MOST_ROUNDS
from federation.study import Study

# A study in which every optional part is there, so that every leaf of it can change.
FULL = {
    "start_from": "nodule_ct-round-003-00ff00ff00ff",
    "title": "Full",
    "expires": "2030-01-01",
    "strategy": {
        "name": "fedadam",
        "learning_rate": 0.1,
        "momentum": 0.5,
        "second_moment": 0.9,
        "adaptivity": 0.01,
    },
    "training": {"steps": 3, "learning_rate": 0.1, "momentum": 0.5, "class_weights": [1.0, 2.0]},
    "aggregation": "secure",
    "secure_sum": {
        "colluding": 0,
        "dropouts": 0,
        "lost_rounds": 2,
        "clip_bound": 8.0,
        "weight_cap": 500,
    },
}
# Leaves that may not be any value: what else they can be.
OTHER = {
    ("expires",): "2031-01-01",
    ("start_from",): "other-final-0123456789ab",
    ("task", "package"): "tasks.other",
    ("model", "trainable"): "all",
    ("pretraining", "source"): "random",
    ("pretraining", "keep"): "all",
    ("strategy", "name"): "fedyogi",
    ("training", "optimizer"): "adam",
    ("privacy", "sampling_rate"): 0.5,
    ("quorum",): 2,
}
# Leaves whose only other value changes what else must be given.
BOUND = {("privacy", "mode"), ("strategy", "proximal"), ("aggregation",)}


@cache
def values():
    return json.loads(compose_run().study.canonical_json) | FULL


def leaves(value, path=()):
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list) and value:
        for position, inner in enumerate(value):
            yield from leaves(inner, (*path, position))
    else:
        yield path, value


def another(path, value):
    """A value that differs from ``value`` and is valid in its place."""
    if path in OTHER:
        return OTHER[path]
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return value / 2 + 0.01
        case str():
            return value + "x"
        case None:
            return "other"
    raise AssertionError(f"{path} is {value!r}: say in OTHER what else it can be")


def with_leaf(path, new):
    changed = json.loads(Study.model_validate(values()).canonical_json)
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = new
    return Study.model_validate(changed)


ALL = dict(leaves(json.loads(Study.model_validate(values()).canonical_json)))


@pytest.mark.parametrize("path", sorted(set(ALL) - BOUND, key=str), ids=lambda path: ".".join(map(str, path)))
def test_a_study_that_differs_anywhere_has_another_id(path):
    study = Study.model_validate(values())
    assert with_leaf(path, ALL[path]).id == study.id
    assert with_leaf(path, another(path, ALL[path])).id != study.id


def test_every_field_of_a_study_is_in_its_canonical_json():
    told = json.loads(Study.model_validate(values()).canonical_json)
    study = Study.model_validate(values())
    assert set(told) == {field for field, value in study if value is not None}
    assert set(Study.model_fields) - set(told) == {"moving_average"}, "left out by those above"
    for name in ("task", "model", "pretraining", "privacy", "strategy", "training"):
        part = getattr(Study.model_validate(values()), name)
        assert set(told[name]) == {field for field, value in part if value is not None}


def test_what_is_left_out_leaves_the_id_as_it_is():
    given = json.loads(Study.model_validate(values()).canonical_json)
    without = {key: value for key, value in given.items() if key != "start_from"}
    assert Study.model_validate(without).id == Study.model_validate(without | {"start_from": None}).id
    assert "start_from" not in json.loads(Study.model_validate(without).canonical_json)


def test_a_promise_and_none_are_two_studies():
    none = compose_run(["privacy=none"]).study
    assert none.id != compose_run(["privacy=local"]).study.id


def test_the_id_does_not_depend_on_the_order_of_keys():
    def backwards(value):
        if isinstance(value, dict):
            return {key: backwards(value[key]) for key in reversed(value)}
        return value

    assert Study.model_validate(backwards(values())).id == Study.model_validate(values()).id


def test_the_id_survives_json():
    for study in (compose_run().study, Study.model_validate(values())):
        for text in (study.canonical_json, study.model_dump_json(), study.model_dump_json(indent=2)):
            assert Study.model_validate_json(text) == study
            assert Study.model_validate_json(text).id == study.id


def test_two_spellings_of_a_number_are_one_study():
    assert compose_run(["privacy.epsilon=3"]).study.id == compose_run(["privacy.epsilon=3.0"]).study.id


def test_the_id_is_64_hex_digits():
    assert set(compose_run().study.id) <= set("0123456789abcdef")
    assert len(compose_run().study.id) == 64


@pytest.mark.parametrize(
    "change",
    [
        {"participants": ["alder", "alder"]},
        {"participants": []},
        {"participants": ["Alder"]},
        {"participants": ["alder\n"], "quorum": 1},
        {"participants": ["alder/../birch"], "quorum": 1},
        {"quorum": 5},
        {"extra": 1},
        {"aggregation": "plain"},
        {"secure_sum": None},
        {"secure_sum": FULL["secure_sum"] | {"colluding": -1}},
        {"secure_sum": FULL["secure_sum"] | {"lost_rounds": -1}},
        {"secure_sum": FULL["secure_sum"] | {"clip_bound": 0.0}},
        {"secure_sum": FULL["secure_sum"] | {"weight_cap": 0}},
    ],
)
def test_a_study_that_contradicts_itself_is_refused(change):
    with pytest.raises(ValidationError):
        Study.model_validate(values() | change)


class TestSums:
    """What a study says of its secure sums has to go together."""

    def test_no_sum_over_its_participants_would_hide_anybody(self):
        for spec in ({"colluding": 3}, {"dropouts": 2}):
            with pytest.raises(ConfigError, match=next(iter(spec))):
                Study.model_validate(values() | {"secure_sum": FULL["secure_sum"] | spec})

    def test_one_may_drop_out_where_it_does_not_take_all_of_them(self):
        found = {}
        for sites in (3, 4, 5, 10):
            named = {"participants": list("abcdefghij"[:sites])}
            spec = {"secure_sum": FULL["secure_sum"] | {"colluding": 1, "dropouts": None}}
            found[sites] = Study.model_validate(values() | named | spec).parties.dropouts
        assert found == {3: 0, 4: 1, 5: 1, 10: 1}

    def test_three_take_nobody_away(self):
        three = {"participants": ["alder", "birch", "cedar"]}
        assert Study.model_validate(values() | three).fewest_hospitals == 3
        with pytest.raises(ConfigError, match="dropouts=1: 3 of 3 sites have to remain"):
            Study.model_validate(values() | three | {"secure_sum": FULL["secure_sum"] | {"dropouts": 1}})

    def test_every_round_and_the_evaluation_have_a_number_of_a_sum(self):
        most = values() | {"rounds": MOST_ROUNDS - 1}
        assert Study.model_validate(most).rounds == MOST_ROUNDS - 1
        with pytest.raises(ValidationError, match="at most 65,535"):
            Study.model_validate(most | {"rounds": MOST_ROUNDS})
        plain = {"aggregation": "plain", "secure_sum": None}
        assert Study.model_validate(most | plain | {"rounds": MOST_ROUNDS})

    def test_the_fewest_hospitals_are_those_that_the_sites_insist_on(self):
        assert compose_run(["aggregation=plain", "quorum=1"]).study.fewest_hospitals == 1
        study = compose_run(["federation=simulation_10", "aggregation=secure", "quorum=1"]).study
        assert study.fewest_hospitals == 9

    def test_too_few_hospitals_are_sent_to_what_would_do(self):
        two = ["study=heart_disease", "quorum=2", "~federation.sites.cedar", "~federation.sites.dogwood"]
        with pytest.raises(ConfigError, match=r"change who takes part; or aggregation=plain$"):
            compose_run(two)
        with pytest.raises(ConfigError, match=r"; or aggregation=plain with privacy=local$"):
            compose_run([*two, "privacy=distributed"])

    def test_distributed_noise_needs_sums_of_single_steps_and_somebody_who_knows_its_share(self):
        with pytest.raises(ConfigError, match="aggregation=plain"):
            compose_run(["privacy=distributed", "aggregation=plain"])
        several = compose_run(["privacy=distributed"]).study.model_dump(mode="json")
        several["training"]["steps"] = 2
        with pytest.raises(ValidationError, match="steps=2"):
            Study.model_validate(several)
        with pytest.raises(ConfigError, match="colluding=0"):
            compose_run(["privacy=distributed", "secure_sum.colluding=0"])

    def test_the_steps_of_its_rounds_become_rounds_of_one(self):
        local, shared = (
            compose_run(["study=chest_xray", f"privacy={mode}"]).study for mode in ("local_3", "distributed")
        )
        assert (shared.rounds, shared.training.steps) == (local.total_steps, 1)
        assert shared.training.momentum == local.training.momentum
