"""Codes as a cohort's definition writes them, ``system|code``, and as FHIR has them."""

from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import Field

from client_app.data.fhir.parts import Code

# A code of a system, which is called by a short name: snomed|427359005
CodeText = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*\|[A-Za-z0-9][A-Za-z0-9.+/-]{0,63}$")]

# Editions of ICD-10 are apart: a code may mean another thing in each.
SYSTEMS: Mapping[str, tuple[str, ...]] = {
    "snomed": ("http://snomed.info/sct",),
    "loinc": ("http://loinc.org",),
    "icd10": ("http://hl7.org/fhir/sid/icd-10",),
    "icd10cm": ("http://hl7.org/fhir/sid/icd-10-cm",),
    "icd10gm": ("http://fhir.de/CodeSystem/bfarm/icd-10-gm", "http://fhir.de/CodeSystem/dimdi/icd-10-gm"),
    "radlex": ("http://radlex.org", "http://www.radlex.org"),
}


def resolved(text: str, systems: Mapping[str, tuple[str, ...]]) -> frozenset[Code]:
    """A code under every address of its system."""
    name, _, code = text.partition("|")
    return frozenset((system, code) for system in systems[name])


def token(codes: Iterable[Code]) -> str:
    """What a search by any of these asks (R4, 3.1.1.4.10)."""
    return any_of(f"{escaped(system)}|{escaped(code)}" for system, code in sorted(codes))


def any_of(values: Iterable[str]) -> str:
    """What a search by any of these, which are escaped where need be, asks."""
    return ",".join(values)


def escaped(value: str) -> str:
    r"""A value of a search that means itself (R4, 3.1.1.4.8): ``\``, ``,``, ``$`` and ``|`` do not."""
    for sign in "\\,$|":
        value = value.replace(sign, f"\\{sign}")
    return value
