"""Turn plain mappings into frozen typed objects, and a mistake into a sentence that says how to mend it."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from inspect import isclass
from itertools import islice
from typing import TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from federation.errors import ConfigError

# Strangers send thousands of wrong keys at once.
_MOST_TOLD = 20


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
        path = [str(step) for step in problem["loc"]]
        dotted = ".".join([where, *path]).strip(".")
        if problem["type"] == "extra_forbidden":
            yield f"{dotted} is not a setting; {nearest(path[-1], _fields(schema, path[:-1]))}"
        elif problem["type"] == "missing":
            yield f"{dotted} is missing; it has no default"
        elif path and (hidden or isinstance(problem["input"], Mapping)):
            yield f"{dotted}: {problem['msg'].removeprefix('Value error, ')}"
        elif path:
            yield f"{dotted}={problem['input']!r}: {problem['msg'].removeprefix('Value error, ')}"
        else:
            yield problem["msg"].removeprefix("Value error, ")


def _fields(schema: type[BaseModel], path: list[str]) -> Iterable[str]:
    """The names that are valid at ``path`` inside ``schema``; places in a list are passed over."""
    for step in path:
        if step in schema.model_fields:
            annotation = schema.model_fields[step].annotation
            candidates = [annotation, *get_args(annotation)]
            schema = next(c for c in candidates if isclass(c) and issubclass(c, BaseModel))
    return schema.model_fields
