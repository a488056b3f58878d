"""Whose data may be used, by the server and by the hospital's list: before images are pulled, and again."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import islice
from typing import Protocol, TypeVar

from client_app.data.fhir.bundle import Json
from client_app.data.fhir.client import FhirClient
from client_app.data.fhir.codes import any_of, escaped
from client_app.data.fhir.consent import ConsentRules, Decision, decide
from client_app.data.fhir.parts import Reference, read
from client_app.data.fhir.people import Consent, Patient
from client_app.data.opt_outs import OptOuts
from federation.errors import DataError

# Patients in one search.
CHUNK = 50
# Somebody has said no, and means it; all else may be an error of the record, and come back.
FOR_GOOD = frozenset({"opted-out", "denied"})
_LONGEST_CHAIN = 20  # records of one person that are linked one with the next

Item = TypeVar("Item")


class Gate(Protocol):
    """Decides on patients by the numbers that the hospital gave them.

    Attributes:
        opt_outs: the hospital's list.
    """

    opt_outs: OptOuts

    def check(self, numbers: Iterable[str]) -> dict[str, Decision]:
        """What holds now for each of the hospital's ``numbers``."""


class ListGate:
    """Of a hospital without a record to ask: whoever is not on its list of opt-outs is in.

    Args:
        rules: of the hospital, with ``opt_out``.

    Raises:
        DataError: the list cannot be read.
    """

    def __init__(self, rules: ConsentRules) -> None:
        self.opt_outs = OptOuts(rules.opt_outs)

    def check(self, numbers: Iterable[str]) -> dict[str, Decision]:
        """See ``Gate``."""
        out, allowed = Decision(False, "opted-out"), Decision(True, "not-denied")
        return {number: out if self.opt_outs.has([number]) else allowed for number in numbers}


class ConsentGate:
    """Decides on patients by the numbers that the hospital gave them."""

    def __init__(self, client: FhirClient, system: str, rules: ConsentRules, today: date) -> None:
        """Read the hospital's list.

        Args:
            client: the server.
            system: identifier system of the hospital's numbers.
            rules: of the hospital.
            today: the day on which is decided.

        Raises:
            DataError: the list of opt-outs cannot be read.
        """
        self._client, self._system, self._rules, self._today = client, system, rules, today
        self.opt_outs = OptOuts(rules.opt_outs)

    def check(self, numbers: Iterable[str]) -> dict[str, Decision]:
        """What holds now for each of the hospital's ``numbers``; whom the server does not know is out.

        A consent counts for all records of a person: those with the same number, and those linked with them,
        be it over others or in a record that cannot be read whole.
        """
        decisions: dict[str, Decision] = {}
        for some in chunks(sorted(set(numbers))):
            decisions |= self._decided(some)
        return decisions

    def _decided(self, numbers: Sequence[str]) -> dict[str, Decision]:
        query = any_of(f"{escaped(self._system)}|{escaped(number)}" for number in numbers)
        people = self._linked(self._patients({"identifier": query}))
        consents = self._consents(people)
        decisions = {}
        for number in numbers:
            own = {key for key, each in people.items() if number in each.numbers(self._system, old=True)}
            joined = _joined(own, people)
            called = {number}.union(*(people[key].numbers(self._system, old=True) for key in joined))
            said = [consent for key in sorted(joined) for consent in consents.get(key, ())]
            known = any(not isinstance(people[key], _InPart) for key in own)
            decisions[number] = self._decide(called, len(own) if known else 0, said)
        return decisions

    def _linked(self, records: dict[str, Patient]) -> dict[str, Patient]:
        """The ``records``, and all that are linked with them, in either direction and over others.

        Raises:
            DataError: there is no end of them.
        """
        people, last = dict(records), records
        for _ in range(_LONGEST_CHAIN):
            to = {link for each in last.values() for link in each.linked} - people.keys()
            queries = [("_id", some) for some in chunks(sorted(to))]
            queries += [("link", [f"Patient/{key}" for key in some]) for some in chunks(sorted(last))]
            # Of one that the server does not give there may be consents all the same.
            found: dict[str, Patient] = {key: _InPart(id=key) for key in to}
            for name, some in queries:
                found |= self._patients({name: any_of(some)})
            last = {key: each for key, each in found.items() if key not in people}
            if not last:
                return people
            people |= last
        raise DataError(
            f"FHIR Patient: a record is linked with others over more than {_LONGEST_CHAIN} links; mend them "
            "in the record"
        )

    def _decide(self, called: Collection[str], records: int, consents: Sequence[Consent | None]) -> Decision:
        if self.opt_outs.has(called):
            return Decision(False, "opted-out", records)
        if not records:
            return Decision(False, "not-found", records)
        found = decide(consents, self._rules, self._today)
        return Decision(found.allowed, found.rule, records)

    def _patients(self, query: Mapping[str, str]) -> dict[str, Patient]:
        """By id."""
        return {
            str(resource["id"]): read(Patient, resource) or _in_part(resource)
            for resource in self._client.search("Patient", query)
        }

    def _consents(self, patients: Collection[str]) -> dict[str, list[Consent | None]]:
        found: dict[str, list[Consent | None]] = {}
        for some in chunks(sorted(patients)):
            for resource in self._client.search(
                "Consent", {"patient": any_of(f"Patient/{key}" for key in some)}
            ):
                found.setdefault(asked_for("Consent", resource, "patient", some), []).append(
                    read(Consent, resource)
                )
        return found


class _InPart(Patient):
    """A record that is not given, or cannot be read whole: it is nobody's who may be used for it alone."""


def _in_part(resource: Json) -> Patient:
    """Whose a record is that cannot be read whole, as far as that can be told: what it denies is denied."""
    told = {}
    for name in ("identifier", "link"):
        listed = resource.get(name)
        parts = [
            read(Patient, {"id": resource["id"], name: [each]})
            for each in (listed if isinstance(listed, list) else ())
        ]
        told[name] = tuple(item for part in parts if part for item in getattr(part, name))
    return _InPart(id=resource["id"]).model_copy(update=told)


def _joined(own: Collection[str], people: Mapping[str, Patient]) -> set[str]:
    """The ids of all records of somebody who has ``own``."""
    joined: set[str] = set()
    ahead = set(own)
    while ahead:
        joined |= ahead
        after = {key for key, each in people.items() if each.linked & ahead}
        ahead = after.union(*(people[key].linked for key in ahead)) - joined
    return joined


def to_tombstone(
    stored: Iterable[str], decisions: Mapping[str, Decision], pseudonym: Callable[[str], str]
) -> dict[str, str]:
    """The patients in a store who may not be used any more, each with the rule.

    Of whoever has several numbers, or one that is written in several ways, what keeps them out counts.

    Args:
        stored: pseudonyms of the store's patients.
        decisions: by the hospital's number, of everybody who may be in the store.
        pseudonym: of a number.
    """
    known: dict[str, Decision] = {}
    for number, decision in decisions.items():
        called = pseudonym(number)
        known[called] = min(known.get(called, decision), decision, key=_standing)
    missing = Decision(False, "not-found")
    now = {patient: known.get(patient, missing) for patient in stored}
    return {patient: decision.rule for patient, decision in now.items() if not decision.allowed}


def _standing(decision: Decision) -> tuple[bool, bool, bool]:
    """What counts most comes first; that a number is not found tells least, where another one is."""
    return decision.rule == "not-found", decision.allowed, decision.rule not in FOR_GOOD


def chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    """The ``items`` in lists of ``CHUNK`` or fewer."""
    rest = iter(items)
    while some := list(islice(rest, CHUNK)):
        yield some


def asked_for(kind: str, resource: Json, field: str, patients: Collection[str]) -> str:
    """The id of the patient whom a ``resource`` is about, who is one of those that were asked for.

    Raises:
        DataError: it is not; the server does not heed whom it is asked for.
    """
    reference = read(Reference, resource.get(field) or {})
    key = reference.patient if reference else ""
    if key not in patients:
        raise DataError(
            f"FHIR {kind}: the server tells of patients that it was not asked for; ask its vendor"
        )
    return key
