"""Whether a patient's studies are in a cohort, and by which rules, from the patient's record alone."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from client_app.data.fhir.criteria import Criterion
from client_app.data.fhir.definition import CohortDefinition
from client_app.data.fhir.people import Patient
from client_app.data.fhir.resources import KINDS, ImagingStudy, OfPatient
from client_app.data.fhir.tally import Tally
from client_app.data.fhir.values import FeatureReader, Value
from client_app.data.uid import is_uid

# Ids of the patients who have the study of a name, see ``ImagingStudy.names``.
Owners = Mapping[str, AbstractSet[str]]


@dataclass(frozen=True, repr=False)
class Case:
    """A study that is in; its repr shows nothing of it.

    Attributes:
        patient: the hospital's number.
        study_uid: of the study, by which the PACS is asked for it.
        features: what is known, by name.
        why: the rules by which it is in.
    """

    patient: str
    study_uid: str
    features: Mapping[str, Value]
    why: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class Record:
    """What is known of a patient.

    Attributes:
        number: the hospital's.
        patient: the person.
        told: everything else.
        why: the rules that hold already.
    """

    number: str
    patient: Patient
    told: Sequence[OfPatient]
    why: tuple[str, ...]


class Wanted:
    """A criterion of a definition, with its codes resolved."""

    def __init__(self, definition: CohortDefinition, criterion: Criterion) -> None:
        """Resolve the codes."""
        self.kind = KINDS[criterion.resource]
        self.codes = definition.codes(criterion.codes)
        self._values = definition.codes(criterion.values)

    def met_by(self, resource: OfPatient) -> bool:
        """Whether the resource holds now and is one of those that are wanted."""
        if not resource.current or not isinstance(resource, self.kind) or not resource.coded & self.codes:
            return False
        return not self._values or bool(resource.answers & self._values)


class Judge:
    """Holds records against a definition, and counts what it finds."""

    def __init__(self, definition: CohortDefinition, owners: Owners, tally: Tally) -> None:
        """Resolve the codes."""
        who, imaging = definition.who, definition.imaging
        self._definition, self._owners, self._tally = definition, owners, tally
        self._having = {name: Wanted(definition, criterion) for name, criterion in who.having.items()}
        self._without = {name: Wanted(definition, criterion) for name, criterion in who.without.items()}
        self._body_sites = definition.codes(imaging.body_sites)
        self._readers = {name: FeatureReader(definition, name) for name in definition.features}

    def cases(self, record: Record) -> tuple[tuple[Case, ...], tuple[str, ...]]:
        """The patient's studies that are in; or, with none, the rules that keep the patient out."""
        current = [each for each in record.told if each.current]
        having = {name: list(filter(wanted.met_by, current)) for name, wanted in self._having.items()}
        out = [f"no-{name}" for name, found in having.items() if not found]
        out += [
            f"has-{name}" for name, unwanted in self._without.items() if any(map(unwanted.met_by, current))
        ]
        sex = self._definition.who.sex
        if sex is not None and record.patient.gender not in sex:
            out.append("sex")
        if out:
            return (), tuple(out)
        studies = sorted(
            (each for each in current if isinstance(each, ImagingStudy)), key=lambda each: each.id
        )
        near = self._definition.imaging.near
        findings = [] if near is None else having[near.finding]
        taken: dict[str, Case] = {}
        against: set[str] = set()
        for study in studies:
            if not study.modalities.intersection(self._definition.imaging.modalities):
                continue
            rules = self._against(study, record.patient, findings)
            if not rules and study.uids <= taken.keys():
                self._tally.duplicates["records of one study"] += 1
                continue
            if not rules:
                features, rules = self._features(
                    study, [each for each in studies if each is not study], current
                )
            if rules:
                against.update(rules)
                self._tally.studies_out.update(rules)
                continue
            [uid] = study.uids
            taken[uid] = Case(record.number, uid, features, (*record.why, *having, "images"))
        label = self._definition.label
        self._tally.classes.update({str(case.features[label]) for case in taken.values()})
        return tuple(taken.values()), () if taken else tuple(sorted(against or {"no-images"}))

    def _against(self, study: ImagingStudy, patient: Patient, findings: Sequence[OfPatient]) -> set[str]:
        """The rules that keep the study out, but for its features."""
        out = set()
        if len(study.uids) != 1 or not all(map(is_uid, study.uids)):
            out.add("no-study-uid")
        if any(len(self._owners.get(name, ())) > 1 for name in study.names):
            out.add("shared-study")
        if self._body_sites and not study.body_sites & self._body_sites:
            out.add("body-site")
        near = self._definition.imaging.near
        if near is not None and not any(
            _within(study, finding, near.days_before, near.days_after) for finding in findings
        ):
            out.add(f"not-near-{near.finding}")
        out.update(self._against_age(study, patient))
        return out

    def _against_age(self, study: ImagingStudy, patient: Patient) -> set[str]:
        age = self._definition.who.age
        if age is None:
            return set()
        if patient.birth_date is None or study.date is None:
            return {"age-unknown"}
        least, most = study.date.years_after(patient.birth_date)
        if age.minimum <= least and most <= age.maximum:
            return set()
        return {"age"} if most < age.minimum or age.maximum < least else {"age-unknown"}

    def _features(
        self, study: ImagingStudy, others: Sequence[ImagingStudy], told: Sequence[OfPatient]
    ) -> tuple[dict[str, Value], set[str]]:
        """What is known, and the rules that keep the study out since something is not."""
        features: dict[str, Value] = {}
        out = set()
        for name, reader in self._readers.items():
            reading = reader.of_study(study, others, told)
            self._tally.features[name, reading.problem or "known"] += 1
            if reading.problem == "unit-mismatch":
                self._tally.units[name, reading.unit or ""] += 1
            if reading.value is not None:
                features[name] = reading.value
            elif reader.feature.required or name == self._definition.label:
                out.add(f"{reading.problem}-{name}")
        return features, out


def _within(study: ImagingStudy, finding: OfPatient, before: int, after: int) -> bool:
    """Whether the study surely lies in the days around the finding."""
    if study.date is None or finding.date is None:
        return False
    fewest, most = study.date.days_after(finding.date)
    return -before <= fewest and most <= after
