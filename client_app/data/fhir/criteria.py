"""Who is in a cohort, and which of their images."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from client_app.data.fhir.codes import CodeText
from federation.schema import Frozen

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Days = Annotated[int, Field(ge=0, le=36_525)]


class Criterion(Frozen):
    """Whoever has one of these.

    Attributes:
        resource: where it is looked for.
        codes: any of these; codes below them in their system have to be named, too.
        values: of an observation, what it has to say, any of these; none is whatever it says.
    """

    resource: Literal["Condition", "Observation", "Procedure"]
    codes: Annotated[tuple[CodeText, ...], Field(min_length=1)]
    values: tuple[CodeText, ...] = ()

    @model_validator(mode="after")
    def _only_observations_say_more(self) -> Self:
        if self.values and self.resource != "Observation":
            raise ValueError(f"values are for an Observation; a {self.resource} has codes only")
        return self


class Age(Frozen):
    """Whole years on the day of the images; both are included."""

    minimum: Annotated[int, Field(ge=0)] = 0
    maximum: Annotated[int, Field(ge=0)] = 150


class Who(Frozen):
    """Patients.

    Attributes:
        having: what each has to have, by name.
        without: what nobody may have, by name.
        age: on the day of the images; None is any, known or not.
        sex: administrative gender; None is any, known or not.
    """

    having: Mapping[Name, Criterion] = {}
    without: Mapping[Name, Criterion] = {}
    age: Age | None = None
    sex: tuple[Literal["female", "male", "other", "unknown"], ...] | None = None


class Near(Frozen):
    """When images were made, seen from a finding.

    Attributes:
        finding: a name of ``who.having``.
        days_before: the most days that the images may come before it.
        days_after: the most days that they may come after it.
    """

    finding: Name
    days_before: Days
    days_after: Days


class Imaging(Frozen):
    """Which studies.

    Attributes:
        modalities: any of these, as DICOM has them.
        body_sites: any of these, of one of the series; none is any.
        near: their time; None is any.
    """

    modalities: Annotated[tuple[Annotated[str, Field(pattern=r"^[A-Z]{2,16}$")], ...], Field(min_length=1)]
    body_sites: tuple[CodeText, ...] = ()
    near: Near | None = None
