"""What is counted while a cohort is found: numbers by rule, and nobody's."""

from collections import Counter
from dataclasses import dataclass, field

from client_app.data.fhir.parts import Code


@dataclass(repr=False)
class Tally:
    """See the module; each is a count.

    Attributes:
        out: patients by each rule that keeps them out.
        studies_out: studies of patients who may be used, by each rule that keeps them out.
        codes: current resources of the patients looked at in which each code was found.
        features: studies by feature, and by ``known`` or why it is not.
        units: unit mismatches by feature and UCUM unit.
        classes: patients by class of the label.
        unreadable: resources that are not as R4 says, by kind.
        duplicates: by kind of duplicate.
        without_record: patients with images but none of the findings.
        without_images: patients with the findings but no images.
    """

    out: Counter[str] = field(default_factory=Counter)
    studies_out: Counter[str] = field(default_factory=Counter)
    codes: Counter[Code] = field(default_factory=Counter)
    features: Counter[tuple[str, str]] = field(default_factory=Counter)
    units: Counter[tuple[str, str]] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)
    unreadable: Counter[str] = field(default_factory=Counter)
    duplicates: Counter[str] = field(default_factory=Counter)
    without_record: int = 0
    without_images: int = 0
