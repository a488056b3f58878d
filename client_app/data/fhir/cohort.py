"""Find a cohort in a hospital's record: who is in, with which studies, what is known of them, and why.

Whoever may not be used is looked at no further than that.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from client_app.data.fhir.client import FhirClient
from client_app.data.fhir.codes import any_of, token
from client_app.data.fhir.definition import CohortDefinition
from client_app.data.fhir.gate import ConsentGate, asked_for, chunks
from client_app.data.fhir.judge import Case, Judge, Record, Wanted
from client_app.data.fhir.parts import Code, Read, read
from client_app.data.fhir.people import Patient
from client_app.data.fhir.resources import KINDS, ImagingStudy, Observation, OfPatient
from client_app.data.fhir.tally import Tally


@dataclass(frozen=True)
class Verdict:
    """Whether a patient is in, and why.

    Attributes:
        patient: pseudonym.
        taken: whether any of the patient's studies is in.
        why: the rules that held, or those that keep the patient out.
    """

    patient: str
    taken: bool
    why: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class Selection:
    """What was found.

    Attributes:
        cases: the studies that are in.
        verdicts: one for each patient who has one of the findings or the images.
        tally: what was counted.
    """

    cases: tuple[Case, ...]
    verdicts: tuple[Verdict, ...]
    tally: Tally


@dataclass(frozen=True, repr=False)
class _Person:
    """A record of a person: the hospital's number, and the rules that keep it out, or those that hold."""

    patient: Patient
    number: str = ""
    out: tuple[str, ...] = ()
    why: tuple[str, ...] = ()


class CohortFinder:
    """Asks one hospital's server for one cohort."""

    def __init__(
        self, client: FhirClient, definition: CohortDefinition, gate: ConsentGate, system: str
    ) -> None:
        """Ask nothing yet.

        Args:
            client: the server.
            definition: the cohort's.
            gate: decides who may be used.
            system: identifier system of the hospital's patient numbers.
        """
        self._client, self._definition, self._gate, self._system = client, definition, gate, system
        self._tally = Tally()

    def select(self, pseudonym: Callable[[str], str]) -> Selection:
        """The cohort.

        Args:
            pseudonym: of a patient's number; of a record without one, of ``Patient/id``.

        Raises:
            ConfigError, DataError, RunError: as ``FhirClient.search``.
        """
        tally = self._tally = Tally()
        owners = self._images()
        found = {"images": set().union(*owners.values()), **self._findings()}
        whole = set.intersection(*found.values())
        tally.without_images = len(set().union(*found.values()) - found["images"])
        tally.without_record = len(found["images"] - whole)
        for kind in ("uid", "accession"):
            shared = sum(len(ids) > 1 for name, ids in owners.items() if name.startswith(f"{kind}/"))
            tally.duplicates[f"one {kind} of two patients"] = shared
        judge = Judge(self._definition, owners, tally)
        cases: list[Case] = []
        verdicts: list[Verdict] = []
        for keys in chunks(sorted(set().union(*found.values()))):
            people = self._people(keys)
            told = self._told([key for key in keys if key in whole and not people[key].out])
            for key in keys:
                person = people[key]
                taken: tuple[Case, ...] = ()
                out = person.out or tuple(f"no-{name}" for name, ids in found.items() if key not in ids)
                if not out:
                    record = Record(person.number, person.patient, told[key], person.why)
                    taken, out = judge.cases(record)
                tally.out.update(out)
                cases.extend(taken)
                who = pseudonym(person.number or f"Patient/{key}")
                verdicts.append(Verdict(who, bool(taken), taken[0].why if taken else out))
        return Selection(tuple(cases), tuple(verdicts), tally)

    def _images(self) -> Mapping[str, set[str]]:
        """Ids of the patients who have each study with the images, by the study's names."""
        wanted = self._definition.imaging.modalities
        owners: defaultdict[str, set[str]] = defaultdict(set)
        for study in self._search(ImagingStudy, {"modality": any_of(wanted)}):
            if study.current and study.modalities.intersection(wanted) and study.patient:
                # A study without a name is its patient's all the same.
                for name in study.names or {"none/"}:
                    owners[name].add(study.patient)
        return owners

    def _findings(self) -> dict[str, set[str]]:
        """Ids of the patients who have each of the findings."""
        found = {}
        for name, criterion in self._definition.who.having.items():
            wanted = Wanted(self._definition, criterion)
            resources = self._search(wanted.kind, _by_code(wanted.kind, wanted.codes))
            found[name] = {each.patient for each in resources if each.patient and wanted.met_by(each)}
        return found

    def _people(self, keys: Sequence[str]) -> dict[str, _Person]:
        """Who the patients are, and whether they may be used."""
        records = {each.id: each for each in self._search(Patient, {"_id": any_of(keys)})}
        numbers = {key: records[key].numbers(self._system) if key in records else frozenset() for key in keys}
        decisions = self._gate.check(number for own in numbers.values() for number in own)
        people = {}
        for key in keys:
            patient = records.get(key)
            if patient is None:
                people[key] = _Person(Patient(id=key), out=("unreadable-record",))
            elif len(numbers[key]) != 1:
                people[key] = _Person(patient, out=("several-numbers" if numbers[key] else "no-number",))
            else:
                [number] = numbers[key]
                decision = decisions[number]
                shared = decision.records > 1
                self._tally.duplicates["records with one number"] += shared
                replaced = not patient.active or any(link.type == "replaced-by" for link in patient.link)
                against = {
                    decision.rule: not decision.allowed,
                    "shared-number": shared,
                    "replaced-record": replaced,
                }
                out = tuple(rule for rule, holds in against.items() if holds)
                people[key] = _Person(patient, number, out[:1], (decision.rule,))
        return people

    def _told(self, keys: Sequence[str]) -> dict[str, list[OfPatient]]:
        """All that is asked for of these patients, by patient."""
        told: dict[str, list[OfPatient]] = {key: [] for key in keys}
        if not keys:
            return told
        patients = any_of(f"Patient/{key}" for key in keys)
        asked: list[tuple[type[OfPatient], frozenset[Code]]] = [(ImagingStudy, frozenset())]
        asked += [(KINDS[kind], codes) for kind, codes in self._definition.searches.items()]
        for kind, codes in asked:
            query = {"patient": patients, **_by_code(kind, codes)}
            for resource in self._search(kind, query, of=keys):
                told[resource.patient].append(resource)
                if resource.current:
                    self._tally.codes.update((resource.coded | resource.answers) & self._definition.all_codes)
        return told

    def _search(self, kind: type[Read], query: Mapping[str, str], of: Sequence[str] = ()) -> Iterator[Read]:
        """The resources that can be read; the others are counted."""
        for raw in self._client.search(kind.__name__, query):
            if of:
                asked_for(kind.__name__, raw, "subject", of)
            resource = read(kind, raw)
            if resource is None:
                self._tally.unreadable[kind.__name__] += 1
            else:
                yield resource


def _by_code(kind: type[Read], codes: frozenset[Code]) -> dict[str, str]:
    """The search for what is about one of the ``codes``; of observations their components, too."""
    name = "combo-code" if kind is Observation else "code"
    return {name: token(codes)} if codes else {}
