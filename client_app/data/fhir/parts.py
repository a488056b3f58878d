"""What FHIR R4 resources are made of, as far as it is read; no repr and no error shows a value."""

import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

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
