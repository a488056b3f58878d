"""What is read of FHIR R4 resources about people: who they are, and what they agreed to."""

from typing import Annotated, Literal

from pydantic import Field

from client_app.data.fhir.dates import FhirDate
from client_app.data.fhir.parts import Coding, Concept, Identifier, Part, Period, Reference


class Link(Part):
    """Another record of the same person."""

    other: Reference
    type: str


class Patient(Part):
    """A person's record; the name is not read."""

    id: str
    active: Annotated[bool, Field(strict=True)] = True
    identifier: tuple[Identifier, ...] = ()
    gender: str | None = None
    birth_date: FhirDate | None = None
    link: tuple[Link, ...] = ()

    def numbers(self, system: str, *, old: bool = False) -> frozenset[str]:
        """The hospital's numbers of the person; with ``old`` also those that are used no more."""
        given = [each for each in self.identifier if each.system == system and (old or each.use != "old")]
        return frozenset(each.value for each in given if each.value)

    @property
    def linked(self) -> frozenset[str]:
        """The ids of other records of the person."""
        return frozenset(link.other.patient for link in self.link if link.other.patient)


class Provision(Part):
    """What a consent permits or denies, and under which conditions."""

    type: Literal["permit", "deny"] | None = None
    period: Period = Period()
    purpose: tuple[Coding, ...] = ()
    code: tuple[Concept, ...] = ()
    actor: tuple[object, ...] = ()
    action: tuple[object, ...] = ()
    security_label: tuple[object, ...] = ()
    class_: tuple[object, ...] = Field(default=(), alias="class")
    data_period: object = None
    data: tuple[object, ...] = ()
    provision: tuple["Provision", ...] = ()


class Consent(Part):
    """What a patient said."""

    id: str
    status: Literal["draft", "proposed", "active", "rejected", "inactive", "entered-in-error"]
    scope: Concept = Concept()
    patient: Reference
    date_time: FhirDate | None = None
    policy_rule: Concept = Concept()
    provision: Provision | None = None
