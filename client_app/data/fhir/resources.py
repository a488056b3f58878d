"""What is read of FHIR R4 resources, and nothing else of them; one that is not so is unreadable."""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationError

from client_app.data.fhir.bundle import Json
from client_app.data.fhir.dates import FhirDate, When
from client_app.data.fhir.parts import Code, Coding, Concept, Identifier, Part, Period, Quantity, Reference

_ACCESSION = "ACSN"
_DICOM_UID = "urn:dicom:uid"


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
        targets = (link.other.target or "" for link in self.link)
        return frozenset(target[len("Patient/") :] for target in targets if target.startswith("Patient/"))


class OfPatient(Part):
    """What is about one patient, and perhaps about one imaging study."""

    id: str
    subject: Reference
    identifier: tuple[Identifier, ...] = ()
    based_on: tuple[Reference, ...] = ()
    part_of: tuple[Reference, ...] = ()

    @property
    def patient(self) -> str:
        """The patient's id; empty where it is about something else."""
        target = self.subject.target or ""
        return target[len("Patient/") :] if target.startswith("Patient/") else ""

    @property
    def date(self) -> When | None:
        """When it was."""
        return None

    @property
    def current(self) -> bool:
        """Whether it holds: not a draft, not entered in error."""
        return True

    @property
    def coded(self) -> frozenset[Code]:
        """What it is about."""
        return frozenset()

    @property
    def answers(self) -> frozenset[Code]:
        """What it says by codes."""
        return frozenset()

    @property
    def accessions(self) -> frozenset[str]:
        """The imaging orders that it names."""
        named = [*self.identifier, *(each.identifier for each in self.based_on if each.identifier)]
        return frozenset(
            each.value for each in named if each.value and _ACCESSION in {code for _, code in each.type.codes}
        )

    @property
    def studies(self) -> frozenset[str]:
        """The imaging studies that it refers to, as ``ImagingStudy/id``."""
        return _imaging(self.part_of)


class Condition(OfPatient):
    """A finding or a diagnosis."""

    code: Concept = Concept()
    verification_status: Concept = Concept()
    onset_date_time: FhirDate | None = None
    recorded_date: FhirDate | None = None

    @property
    def date(self) -> When | None:
        """Its onset, or else when it was recorded."""
        return self.onset_date_time or self.recorded_date

    @property
    def coded(self) -> frozenset[Code]:
        """What it is about."""
        return self.code.codes

    @property
    def current(self) -> bool:
        """Confirmed, or without a word on that."""
        return {code for _, code in self.verification_status.codes} <= {"confirmed"}


class Valued(Part):
    """A question and its answer."""

    code: Concept = Concept()
    value_quantity: Quantity | None = None
    value_integer: Annotated[int, Field(strict=True)] | None = None
    value_codeable_concept: Concept | None = None


class Observation(OfPatient, Valued):
    """A measurement, with its components."""

    status: str
    effective_date_time: FhirDate | None = None
    effective_period: Period = Period()
    effective_instant: FhirDate | None = None
    derived_from: tuple[Reference, ...] = ()
    component: tuple[Valued, ...] = ()

    @property
    def date(self) -> When | None:
        """When it was observed."""
        return self.effective_date_time or self.effective_instant or self.effective_period.span

    @property
    def coded(self) -> frozenset[Code]:
        """What it and its components are about."""
        return self.code.codes.union(*(each.code.codes for each in self.component))

    @property
    def answers(self) -> frozenset[Code]:
        """The values that are codes."""
        told = (each.value_codeable_concept for each in (self, *self.component))
        return frozenset().union(*(each.codes for each in told if each is not None))

    @property
    def current(self) -> bool:
        """Whether it is final."""
        return self.status in ("final", "amended", "corrected")

    @property
    def studies(self) -> frozenset[str]:
        """The imaging studies that it is part of or derived from."""
        return _imaging((*self.part_of, *self.derived_from))


class Procedure(OfPatient):
    """Something that was done."""

    status: str
    code: Concept = Concept()
    performed_date_time: FhirDate | None = None
    performed_period: Period = Period()

    @property
    def date(self) -> When | None:
        """When it was done."""
        return self.performed_date_time or self.performed_period.span

    @property
    def coded(self) -> frozenset[Code]:
        """What it is about."""
        return self.code.codes

    @property
    def current(self) -> bool:
        """Whether it was done."""
        return self.status == "completed"


class DiagnosticReport(OfPatient):
    """What somebody concluded."""

    status: str
    code: Concept = Concept()
    effective_date_time: FhirDate | None = None
    effective_period: Period = Period()
    imaging_study: tuple[Reference, ...] = ()
    conclusion_code: tuple[Concept, ...] = ()

    @property
    def date(self) -> When | None:
        """When that was examined which it reports on."""
        return self.effective_date_time or self.effective_period.span

    @property
    def coded(self) -> frozenset[Code]:
        """What it is about."""
        return self.code.codes

    @property
    def answers(self) -> frozenset[Code]:
        """The conclusions."""
        return frozenset().union(*(each.codes for each in self.conclusion_code))

    @property
    def current(self) -> bool:
        """Whether it is final."""
        return self.status in ("final", "amended", "corrected", "appended")

    @property
    def studies(self) -> frozenset[str]:
        """The imaging studies that it reports on."""
        return _imaging(self.imaging_study)


class Series(Part):
    """A series of an imaging study."""

    modality: Coding = Coding()
    body_site: Coding = Coding()


class ImagingStudy(OfPatient):
    """A study in the PACS."""

    status: str
    started: FhirDate | None = None
    modality: tuple[Coding, ...] = ()
    series: tuple[Series, ...] = ()

    @property
    def date(self) -> When | None:
        """When it was begun."""
        return self.started

    @property
    def current(self) -> bool:
        """Whether it exists."""
        return self.status not in ("cancelled", "entered-in-error")

    @property
    def uids(self) -> frozenset[str]:
        """Its study instance UIDs; there should be one."""
        return frozenset(
            each.value.removeprefix("urn:oid:")
            for each in self.identifier
            if each.system == _DICOM_UID and each.value
        )

    @property
    def names(self) -> frozenset[str]:
        """By what a PACS can be asked for it."""
        return frozenset({*(f"uid/{uid}" for uid in self.uids), *(f"accession/{a}" for a in self.accessions)})

    @property
    def modalities(self) -> frozenset[str]:
        """Of the study, and of its series."""
        codes = {each.code for each in self.modality} | {each.modality.code for each in self.series}
        return frozenset(code for code in codes if code)

    @property
    def body_sites(self) -> frozenset[Code]:
        """Of its series."""
        return Concept(coding=tuple(each.body_site for each in self.series)).codes


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


# By the names that definitions use.
KINDS: Mapping[str, type[OfPatient]] = {
    "Condition": Condition,
    "DiagnosticReport": DiagnosticReport,
    "Observation": Observation,
    "Procedure": Procedure,
}

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


def _imaging(references: tuple[Reference, ...]) -> frozenset[str]:
    targets = {each.target for each in references}
    return frozenset(target for target in targets if target and target.startswith("ImagingStudy/"))
