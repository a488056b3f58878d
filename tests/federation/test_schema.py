import traceback
from collections.abc import Mapping
from typing import Annotated, Literal

import pytest
from pydantic import ConfigDict, Field, ValidationError, field_validator

from federation.errors import ConfigError
from federation.schema import Frozen, nearest, validated
from federation.study import Name


class Inner(Frozen):
    epsilon: Annotated[float, Field(gt=0)]
    delta: float = 1e-5


class Web(Frozen):
    kind: Literal["web"] = "web"
    url: str
    inner: Inner | None = None

    @field_validator("url")
    @classmethod
    def _has_a_scheme(cls, url: str) -> str:
        if "://" not in url:
            raise ValueError("give a whole address")
        return url


class Disk(Frozen):
    kind: Literal["disk"] = "disk"
    folder: str


Way = Annotated[Web | Disk, Field(discriminator="kind")]


class Ways(Frozen):
    way: Way
    other: Way | None = None
    several: tuple[Way, ...] = ()
    named: Mapping[str, Inner] = {}
    untold: Inner | Disk | None = None


class Hidden(Frozen):
    model_config = ConfigDict(hide_input_in_errors=True)

    way: Way


class Named(Frozen):
    name: Name
    others: Mapping[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")], int]


class HiddenName(Frozen):
    model_config = ConfigDict(hide_input_in_errors=True)

    name: Name


DISK = {"kind": "disk", "folder": "/a"}


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


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"way": DISK | {"foldr": 1}}, "site.way.foldr is not a setting; did you mean 'folder'?"),
        ({"other": DISK | {"url": 1}}, "site.other.url is not a setting; valid names: folder, kind"),
        ({"other": DISK | {"disk": 1}}, "site.other.disk is not a setting; valid names: folder, kind"),
        ({"several": [DISK | {"foldr": 1}]}, "site.several.0.foldr is not a setting; did you mean 'folder'?"),
        (
            {"way": {"kind": "web", "url": "a://b", "inner": {"epsilon": 1, "dleta": 1}}},
            "site.way.inner.dleta is not a setting; did you mean 'delta'?",
        ),
        ({"way": {"kind": "disk"}}, "site.way.folder is missing; it has no default"),
        ({"way": {"kind": "web", "url": "pacs"}}, "site.way.url='pacs': give a whole address"),
        ({"way": {"folder": "/a"}}, "site.way.kind is missing; one of web, disk"),
        ({"other": {"folder": "/a"}}, "site.other.kind is missing; one of web, disk"),
        ({"way": {"kind": "dsk"}}, "site.way.kind='dsk' is not known; one of web, disk"),
        ({"several": [{"kind": 7}]}, "site.several.0.kind='7' is not known; one of web, disk"),
        (
            {"named": {"delta": {"epsilon": 1, "dleta": 1}}},
            "site.named.delta.dleta is not a setting; did you mean 'delta'?",
        ),
        (
            {"untold": {"epsilon": 1, "dleta": 1}},
            "site.untold.dleta is not a setting; did you mean 'delta'?",
        ),
    ],
)
def test_of_several_kinds_of_settings_those_of_the_kind_are_told(changes, said):
    with pytest.raises(ConfigError) as error:
        validated(Ways, {"way": DISK, **changes}, "site")
    assert said in str(error.value).split("; and ")[0]


def test_without_a_place_of_its_own_the_kind_is_told_as_it_stands_in_the_file():
    with pytest.raises(ConfigError) as error:
        validated(Ways, {"way": {}}, "")
    assert str(error.value) == "way.kind is missing; one of web, disk"


def test_a_wrong_kind_is_left_out_where_values_are():
    with pytest.raises(ConfigError) as error:
        validated(Hidden, {"way": {"kind": "secret"}}, "")
    assert str(error.value) == "way.kind is not known; one of web, disk"


def test_which_signs_a_name_has_is_said_in_words():
    with pytest.raises(ConfigError) as error:
        validated(Named, {"name": "user10-hospital", "others": {"A": 1}}, "site")
    name, key = str(error.value).split("; ")
    assert name == "site.name='user10-hospital' must be 1 to 64 of a-z, 0-9 and _, a letter first"
    assert key.endswith("='A' must be 1 to 40 of a-z, 0-9 and _, a letter first")


def test_a_name_is_left_out_where_values_are():
    with pytest.raises(ConfigError) as error:
        validated(HiddenName, {"name": "A"}, "")
    assert str(error.value) == "name must be 1 to 64 of a-z, 0-9 and _, a letter first"


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
