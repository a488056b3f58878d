"""What FHIR R4 resources are made of, as far as it is read; no repr and no error shows a value."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from client_app.data.fhir.bundle import Json
from client_app.data.fhir.dates import FhirDate, When

_REFERENCE = re.compile(r"(?:.*/)?([A-Za-z]+/[A-Za-z0-9.-]{1,64})(?:/_history/[^/]+)?")

Code = tuple[str, str]  # system, code


class Part(BaseModel):
    """Base of what is read."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=to_camel, hide_input_in_errors=True, allow_inf_nan=False
    )

    def __repr_args__(self) -> Iterator[tuple[str | None, object]]:
        return iter(())


class Coding(Part):
    """One code of a system."""

    system: str | None = None
    code: str | None = None


class Concept(Part):
    """Several codes for one thing."""

    coding: tuple[Coding, ...] = ()

    @property
    def codes(self) -> frozenset[Code]:
        """Those that are whole."""
        return frozenset((each.system, each.code) for each in self.coding if each.system and each.code)


class Identifier(Part):
    """A number that somebody gave."""

    use: str | None = None
    system: str | None = None
    value: str | None = None
    type: Concept = Concept()


class Reference(Part):
    """Another resource."""

    reference: str | None = None
    identifier: Identifier | None = None

    @property
    def target(self) -> str | None:
        """``Kind/id``; None where it is not said like that."""
        found = _REFERENCE.fullmatch(self.reference or "")
        return found[1] if found else None

    @property
    def patient(self) -> str:
        """The id of the patient that it is to; empty where it is to something else."""
        kind, _, key = (self.target or "").partition("/")
        return key if kind == "Patient" else ""


class Period(Part):
    """From when to when, both days included."""

    start: FhirDate | None = None
    end: FhirDate | None = None

    @property
    def span(self) -> When | None:
        """All its days; None where one end is open."""
        return When(self.start.earliest, self.end.latest) if self.start and self.end else None


class Quantity(Part):
    """A number with its unit."""

    value: Annotated[float, Field(strict=True)] | None = None
    comparator: str | None = None
    system: str | None = None
    code: str | None = None


Read = TypeVar("Read", bound=Part)


def read(kind: type[Read], resource: Json) -> Read | None:
    """The ``resource`` as far as it is read; None where it is not as R4 says, or may mean something else."""
    try:
        return None if _modified(resource) else kind.model_validate(resource)
    except (ValidationError, RecursionError):
        return None


def _modified(value: object) -> bool:
    """Whether something in it changes what the rest means; then R4, 2.4.0.1, forbids to read on."""
    if isinstance(value, Mapping):
        told = any(value.get(key) for key in ("modifierExtension", "implicitRules"))
        return told or any(_modified(each) for each in value.values())
    return isinstance(value, list) and any(_modified(each) for each in value)
