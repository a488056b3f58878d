import traceback
from typing import Annotated

import pytest
from pydantic import Field, ValidationError

from federation.errors import ConfigError
from federation.schema import Frozen, nearest, validated


class Inner(Frozen):
    epsilon: Annotated[float, Field(gt=0)]
    delta: float = 1e-5


class Outer(Frozen):
    inner: Inner
    maybe: Inner | None = None
    several: tuple[Inner, ...] = ()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"inner": {"epsilon": 1}, "iner": 1}, "study.iner is not a setting; did you mean 'inner'?"),
        ({"inner": {"epsilon": 1, "dleta": 1}}, "study.inner.dleta is not a setting; did you mean 'delta'?"),
        (
            {"inner": {"epsilon": 1}, "maybe": {"epsilon": 1, "epsilom": 2}},
            "study.maybe.epsilom is not a setting; did you mean 'epsilon'?",
        ),
        (
            {"inner": {"epsilon": 1}, "several": [{"epsilon": 1, "q": 2}]},
            "study.several.0.q is not a setting; valid names: delta, epsilon",
        ),
        ({"inner": {}}, "study.inner.epsilon is missing; it has no default"),
        ({"inner": {"epsilon": -1}}, "study.inner.epsilon=-1: Input should be greater than 0"),
        ({"inner": {"epsilon": float("nan")}}, "study.inner.epsilon=nan: "),
        ({"inner": {"epsilon": float("inf")}}, "study.inner.epsilon=inf: Input should be a finite number"),
        (7, "dictionary"),
    ],
)
def test_a_mistake_is_told_with_its_place_its_value_and_the_nearest_name(values, said):
    with pytest.raises(ConfigError) as error:
        validated(Outer, values, "study")
    assert said in str(error.value)


def test_every_mistake_is_told_at_once():
    with pytest.raises(ConfigError) as error:
        validated(Outer, {"inner": {"epsilon": 0}, "other": 1}, "study")
    assert "study.inner.epsilon=0" in str(error.value)
    assert "study.other" in str(error.value)


def test_of_thousands_of_mistakes_the_first_are_told_and_the_others_counted():
    with pytest.raises(ConfigError) as error:
        validated(Outer, {"inner": {"epsilon": 1}, **{f"key{number}": 1 for number in range(5000)}}, "study")
    assert str(error.value).endswith("; and 4980 more")
    printed = "".join(traceback.format_exception(error.value))
    assert len(printed) < 10_000, "nor does a log that shows where it comes from"


def test_what_was_validated_never_changes():
    outer = validated(Outer, {"inner": {"epsilon": 1}}, "study")
    with pytest.raises(ValidationError):
        outer.inner = None


def test_nearest_tells_one_close_name_or_all():
    assert nearest("fedvag", ["fedavg", "fedprox"]) == "did you mean 'fedavg'?"
    assert nearest("zzz", ["b", "a"]) == "valid names: a, b"
    assert nearest("zzz", []) == "valid names: none"
