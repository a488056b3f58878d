"""Turn plain mappings into frozen typed objects, and a mistake into a sentence that says how to mend it."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from inspect import isclass
from itertools import islice
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from federation.errors import ConfigError

# Strangers send thousands of wrong keys at once.
_MOST_TOLD = 20
# The pattern of names, as of ``federation.study.Name``, which people who run hospitals cannot read.
_NAME = re.compile(r"\^\[a-z\]\[a-z0-9_\]\{0,(?P<more>\d+)\}\$")


class Frozen(BaseModel):
    """Base of every typed object of the contract: no unknown keys, no change after validation."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Schema = TypeVar("Schema", bound=BaseModel)


def validated(schema: type[Schema], values: object, where: str) -> Schema:
    """``values`` as a ``schema``; one with ``hide_input_in_errors`` has wrong values left out of the error.

    Args:
        schema: the type to build.
        values: what was composed or received.
        where: what to call it in an error, e.g. ``"study"``.

    Raises:
        ConfigError: naming the first wrong keys with their values, and the nearest valid name of an unknown
            one.
    """
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        told = list(islice(_sentences(schema, error, where), _MOST_TOLD))
        more = error.error_count() - len(told)
    # Without pydantic's own words, which have no such limit, and say nothing else.
    raise ConfigError("; ".join(told) + (f"; and {more} more" if more else ""))


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint for a misspelt ``name``: the nearest of the ``valid`` names, or all of them."""
    names = sorted(valid)
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"valid names: {', '.join(names) or 'none'}"


def _sentences(schema: type[BaseModel], error: ValidationError, where: str) -> Iterable[str]:
    hidden = schema.model_config.get("hide_input_in_errors", False)
    for problem in error.errors():
        path, there = _place(schema, [str(step) for step in problem["loc"]])
        dotted = ".".join([where, *path]).strip(".")
        shown = "" if hidden or isinstance(problem["input"], Mapping) else f"={problem['input']!r}"
        if problem["type"] == "extra_forbidden":
            _, around = _place(schema, [str(step) for step in problem["loc"][:-1]])
            valid = {name for model in _models(around) for name in model.model_fields}
            yield f"{dotted} is not a setting; {nearest(path[-1], valid)}"
        elif problem["type"] == "missing":
            yield f"{dotted} is missing; it has no default"
        elif problem["type"] in ("union_tag_not_found", "union_tag_invalid"):
            yield _without_a_kind(dotted, there, problem["ctx"], hidden=hidden)
        elif problem["type"] == "string_pattern_mismatch" and (
            name := _NAME.fullmatch(problem["ctx"]["pattern"])
        ):
            most = int(name["more"]) + 1
            yield f"{dotted}{shown} must be 1 to {most} of a-z, 0-9 and _, a letter first"
        elif path:
            yield f"{dotted}{shown}: {problem['msg'].removeprefix('Value error, ')}"
        else:
            yield problem["msg"].removeprefix("Value error, ")


def _without_a_kind(dotted: str, there: list[Any], context: Mapping[str, str], *, hidden: bool) -> str:
    """What is wrong where the setting that says which of several models stands there does not."""
    name = context["discriminator"].strip("'")
    kinds = ", ".join(
        kind for model in _models(there) for kind in get_args(model.model_fields[name].annotation)
    )
    if "tag" not in context:
        return f"{dotted}.{name} is missing; one of {kinds}".strip(".")
    shown = "" if hidden else f"={context['tag']!r}"
    return f"{dotted}.{name}{shown} is not known; one of {kinds}".strip(".")


def _place(schema: type[BaseModel], loc: list[str]) -> tuple[list[str], list[Any]]:
    """The steps of ``loc`` that are written in a file, and what may stand at their end.

    Pydantic tells with a step of its own which of a union's models it took; nobody has written that.
    """
    path, there = [], [schema]
    for step in loc:
        models = _models(there)
        taken = [model for model in models if len(models) > 1 and _is_taken_by(model, step)]
        if taken:
            there = list(taken)
        else:
            path.append(step)
            there = [each for option in there for each in _inside(option, step)]
    return path, there


def _is_taken_by(model: type[BaseModel], step: str) -> bool:
    kinds = (get_args(field.annotation) for field in model.model_fields.values())
    return step == model.__name__ or any(step in kind for kind in kinds)


def _inside(option: Any, step: str) -> list[Any]:
    """What may stand at ``step`` in a model; or in a list or map, where all steps are alike."""
    if not _models([option]):
        return [each for part in get_args(option) for each in _options(part)]
    field = option.model_fields.get(step)
    return _options(field.annotation) if field else []


def _options(annotation: Any) -> list[Any]:
    """The members of a union, or the only one, without their constraints."""
    if get_origin(annotation) is Annotated:
        return _options(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [each for part in get_args(annotation) for each in _options(part)]
    return [annotation]


def _models(options: list[Any]) -> list[type[BaseModel]]:
    return [each for each in options if isclass(each) and issubclass(each, BaseModel)]
