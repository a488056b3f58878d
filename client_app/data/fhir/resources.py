"""What is read of FHIR R4 resources about what patients have, and nothing else of them."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from client_app.data.fhir.dates import FhirDate, When
from client_app.data.fhir.parts import Code, Coding, Concept, Identifier, Part, Period, Quantity, Reference

_ACCESSION = "ACSN"
_DICOM_UID = "urn:dicom:uid"


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
        return self.subject.patient

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
    value_integer: Annotated[int, Field(strict=True, ge=-(2**31), lt=2**31)] | None = None  # R4, 2.24.0.1
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


# By the names that definitions use.
KINDS: Mapping[str, type[OfPatient]] = {
    "Condition": Condition,
    "DiagnosticReport": DiagnosticReport,
    "Observation": Observation,
    "Procedure": Procedure,
}


def _imaging(references: tuple[Reference, ...]) -> frozenset[str]:
    targets = {each.target for each in references}
    return frozenset(target for target in targets if target and target.startswith("ImagingStudy/"))
