"""Whether a hospital's data are good enough for a cohort, before anything is written; counts only."""

from collections.abc import Iterable, Iterator

from client_app.books.findings import Finding, State
from client_app.data.fhir.cohort import Selection
from client_app.data.fhir.definition import CohortDefinition
from client_app.data.fhir.tally import Tally

# Any other text may be anything, so it is not shown.
_UNITS = frozenset(
    {"m", "cm", "mm", "um", "[in_i]", "m2", "cm2", "mm2", "cm3", "mm3", "L", "dL", "mL", "a", "mo", "wk", "d"}
    | {"h", "min", "s", "kg", "g", "mg", "ug", "ng", "[lb_av]", "%", "1"}
)
_REMEDIES = {
    "unit-mismatch": "tell it in the definition's unit, or have the definition convert the unit",
    "unmapped": "have the definition name the codes that are used here",
    "contradictory": "say in the record which images a value is about",
    "undated": "date it, or say in the record which images it is about",
    "comparator": "a bound such as < 5 is no value",
    "out-of-range": "see to the values, or to their unit",
    "no-value": "see to entries without a value",
    "missing": "see whether it is told by another code here",
}
_RULES = {
    "no-number": "the record has no number of ingest.fhir.patient_system",
    "several-numbers": "give each record one number of ingest.fhir.patient_system, and mark others as old",
    "shared-number": "join the records, or give each a number of its own",
    "shared-study": "find out whose study it is",
    "unreadable-record": "ask the server's vendor; the record is not as R4 says",
    "unreadable-consent": "see what the consent says, and write it as R4 says",
    "not-found": "the server does not find the record by its number",
    "no-study-uid": "have the study's instance UID in ImagingStudy.identifier",
}


def quality(definition: CohortDefinition, selection: Selection) -> tuple[Finding, ...]:
    """What was found, for ``findings_table`` or a page; a problem keeps the hospital from taking part."""
    tally = selection.tally
    return (
        *_counts(selection),
        *_required(definition, selection),
        *_rules(tally),
        *_features(definition, tally),
        *_codes(definition, tally),
        *_order(tally),
    )


def _counts(selection: Selection) -> Iterator[Finding]:
    taken = sum(verdict.taken for verdict in selection.verdicts)
    yield Finding(
        "patients",
        "ok",
        f"{taken} in with {_studies(len(selection.cases))}, {len(selection.verdicts) - taken} out",
    )
    for name, count in sorted(selection.tally.classes.items()):
        yield Finding(f"class {name}", "ok", _patients(count))


def _required(definition: CohortDefinition, selection: Selection) -> Iterator[Finding]:
    """Why a hospital is below what the study asks for."""
    requires, tally = definition.requires, selection.tally
    taken = sum(verdict.taken for verdict in selection.verdicts)
    told = f"{_patients(taken)}, and {requires.patients} are required"
    short = "" if taken >= requires.patients else "see below why patients are out; the study cannot run here"
    yield Finding("required: patients", "problem" if short else "ok", told, short)
    if requires.patients_of_each_class:
        for name in definition.features[definition.label].classes:
            count, least = tally.classes[name], requires.patients_of_each_class
            told = f"{_patients(count)}, and {least} are required"
            short = "" if count >= least else "the study cannot run here"
            yield Finding(f"required: class {name}", "problem" if short else "ok", told, short)
    for name, share in requires.features.items():
        known = sum(name in case.features for case in selection.cases)
        cases = len(selection.cases)
        told = f"known in {known} of {_studies(cases)}, and {share:.0%} are required"
        enough = cases > 0 and known >= share * cases
        remedy = "" if enough else "see below why it is not known; the study cannot run here"
        yield Finding(f"required: {name}", "ok" if enough else "problem", told, remedy)


def _rules(tally: Tally) -> Iterator[Finding]:
    kinds = (("patients", _patients, tally.out), ("studies", _studies, tally.studies_out))
    for what, told, counts in kinds:
        for rule, count in sorted(counts.items()):
            remedy = _RULES.get(rule, "")
            yield Finding(f"{what} out: {rule}", _state(rule in _RULES), told(count), remedy)


def _features(definition: CohortDefinition, tally: Tally) -> Iterator[Finding]:
    for name in definition.features:
        counts = {problem: count for (feature, problem), count in tally.features.items() if feature == name}
        yield Finding(f"{name}: known", "ok", _studies(counts.pop("known", 0)))
        for problem, count in sorted(counts.items()):
            told = _studies(count)
            if problem == "unit-mismatch":
                units = {unit for feature, unit in tally.units if feature == name}
                shown = sorted(units & _UNITS) + (["others"] if units - _UNITS else [])
                told += f", in {', '.join(shown)}"
            yield Finding(f"{name}: {problem}", "warning", told, _REMEDIES[problem])


def _codes(definition: CohortDefinition, tally: Tally) -> Iterator[Finding]:
    """What each name of the definition is called here."""
    for name, texts in _named(definition):
        seen = {text: sum(tally.codes[code] for code in definition.codes([text])) for text in texts}
        found = ", ".join(f"{count} by {text}" for text, count in seen.items() if count)
        remedy = "" if found else "see whether it is told by another code here"
        yield Finding(f"codes of {name}", _state(not found), found or "none of them is found", remedy)


def _named(definition: CohortDefinition) -> Iterable[tuple[str, tuple[str, ...]]]:
    for name, criterion in definition.who.having.items():
        yield name, criterion.codes
    for name, feature in definition.features.items():
        if feature.codes:
            yield name, feature.codes
        for label, codes in feature.classes.items():
            yield f"{name} {label}", codes


def _order(tally: Tally) -> Iterator[Finding]:
    """What does not fit together."""
    for kind, count in sorted(tally.duplicates.items()):
        yield Finding(
            f"duplicates: {kind}", _state(count > 0), str(count), "see to the records" if count else ""
        )
    yield Finding(
        "images without a record", "ok", f"{_patients(tally.without_record)} with none of the findings"
    )
    yield Finding("records without images", "ok", f"{_patients(tally.without_images)} with no images")
    for kind, count in sorted(tally.unreadable.items()):
        yield Finding(
            f"unreadable: {kind}", "warning", f"{count} are not as R4 says", "ask the server's vendor"
        )


def _patients(count: int) -> str:
    return f"{count} patient" + "s" * (count != 1)


def _studies(count: int) -> str:
    return f"{count} " + ("study" if count == 1 else "studies")


def _state(wrong: bool) -> State:
    return "warning" if wrong else "ok"
