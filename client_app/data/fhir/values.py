"""From what a record tells to the features of a study."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from client_app.data.fhir.definition import CohortDefinition
from client_app.data.fhir.parts import Code, Concept, Quantity
from client_app.data.fhir.resources import (
    KINDS,
    Condition,
    DiagnosticReport,
    ImagingStudy,
    Observation,
    OfPatient,
    Valued,
)

Value = float | str
Problem = Literal[
    "missing",
    "no-value",
    "unmapped",
    "unit-mismatch",
    "comparator",
    "out-of-range",
    "undated",
    "contradictory",
]

_UCUM = "http://unitsofmeasure.org"
_DIGITS = 9  # so that 1.2 cm and 12 mm are one number


@dataclass(frozen=True, repr=False)
class Reading:
    """A value, or why there is none.

    Attributes:
        value: a number in the feature's unit, or the name of a class.
        problem: why not.
        unit: of a unit mismatch, the UCUM code that was found.
    """

    value: Value | None = None
    problem: Problem | None = None
    unit: str | None = None


class FeatureReader:
    """Reads one feature of a definition."""

    def __init__(self, definition: CohortDefinition, name: str) -> None:
        """Resolve its codes."""
        self.feature = definition.features[name]
        self._asked = definition.codes(self.feature.searched)
        self._classes: dict[Code, str] = {
            code: label for label, texts in self.feature.classes.items() for code in definition.codes(texts)
        }

    def of_study(
        self, study: ImagingStudy, others: Sequence[ImagingStudy], told: Iterable[OfPatient]
    ) -> Reading:
        """The feature of a ``study``.

        What names the study counts first, by reference or accession; else what names no study of the patient
        and is nearest in time. Of values that are equally near all have to be the same.

        Args:
            study: the study.
            others: the patient's other studies.
            told: the patient's resources of all kinds.
        """
        about = [each for each in told if each.current and self._concerns(each)]
        chosen = [each for each in about if _names(each, [study])]
        if not chosen:
            free = [each for each in about if not _names(each, others)]
            chosen = self._nearest(study, free)
            if not chosen and any(each.date is None or study.date is None for each in free):
                return Reading(problem="undated")
        if not chosen:
            return Reading(problem="missing") if self.feature.absent is None else Reading(self.feature.absent)
        return _agreed([reading for each in chosen for reading in self._readings(each)])

    def _concerns(self, resource: OfPatient) -> bool:
        if not isinstance(resource, KINDS[self.feature.resource]):
            return False
        if isinstance(resource, DiagnosticReport) and not self._asked:
            return bool(resource.answers & self._classes.keys())
        return bool(resource.coded & self._asked)

    def _nearest(self, study: ImagingStudy, told: Sequence[OfPatient]) -> list[OfPatient]:
        days = self.feature.days
        if days is None and any(each.date is None or study.date is None for each in told):
            return list(told)
        apart = [
            (each.date.distance(study.date), each)
            for each in told
            if each.date is not None and study.date is not None
        ]
        near = [(distance, each) for distance, each in apart if days is None or distance <= days]
        least = min((distance for distance, _ in near), default=0)
        return [each for distance, each in near if distance == least]

    def _readings(self, resource: OfPatient) -> list[Reading]:
        if isinstance(resource, Condition):
            return [self._class((resource.code,))]
        if isinstance(resource, DiagnosticReport):
            return [self._class(resource.conclusion_code)]
        if isinstance(resource, Observation):
            return [self._answer(each) for each in self._answers(resource)]
        return []

    def _answers(self, observation: Observation) -> list[Valued]:
        """The observation itself or its components, those that answer what is asked."""
        return [each for each in (observation, *observation.component) if each.code.codes & self._asked]

    def _answer(self, told: Valued) -> Reading:
        if self.feature.unit is None:
            return self._class(() if told.value_codeable_concept is None else (told.value_codeable_concept,))
        if told.value_integer is not None and self.feature.unit == "1":
            return self._number(float(told.value_integer))
        return (
            Reading(problem="no-value")
            if told.value_quantity is None
            else self._quantity(told.value_quantity)
        )

    def _quantity(self, told: Quantity) -> Reading:
        if told.value is None:
            return Reading(problem="no-value")
        if told.comparator is not None:
            return Reading(problem="comparator")
        unit = told.code if told.system == _UCUM else None
        if unit is not None and unit == self.feature.unit:
            return self._number(told.value)
        if unit is not None and unit in self.feature.convert:
            return self._number(told.value * self.feature.convert[unit])
        return Reading(problem="unit-mismatch", unit=unit)

    def _number(self, value: float) -> Reading:
        low, high = self.feature.minimum, self.feature.maximum
        rounded = float(f"{value:.{_DIGITS}g}")
        if (
            not math.isfinite(rounded)
            or (low is not None and rounded < low)
            or (high is not None and rounded > high)
        ):
            return Reading(problem="out-of-range")
        return Reading(rounded + 0.0)  # a zero without a sign

    def _class(self, told: Sequence[Concept]) -> Reading:
        codes: frozenset[Code] = frozenset().union(*(each.codes for each in told))
        classes = {self._classes[code] for code in codes & self._classes.keys()}
        if len(classes) == 1:
            return Reading(classes.pop())
        if classes:
            return Reading(problem="contradictory")
        return Reading(problem="unmapped" if codes else "no-value")


def _names(told: OfPatient, studies: Sequence[ImagingStudy]) -> bool:
    """Whether it is about one of the ``studies``, by reference or by accession."""
    return any(
        f"ImagingStudy/{study.id}" in told.studies or told.accessions & study.accessions for study in studies
    )


def _agreed(readings: Sequence[Reading]) -> Reading:
    values = {each.value for each in readings if each.value is not None}
    if len(values) == 1:
        return Reading(values.pop())
    if values:
        return Reading(problem="contradictory")
    return min(readings, key=lambda each: each.problem or "")
