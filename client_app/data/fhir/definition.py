"""A cohort in YAML: who is in it, which images, and what is known of each; one text for every hospital."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field, model_validator
from yaml import YAMLError

from client_app.data.fhir.codes import SYSTEMS, CodeText, resolved
from client_app.data.fhir.criteria import Days, Imaging, Name, Who
from client_app.data.fhir.parts import Code
from federation.errors import ConfigError
from federation.schema import Frozen, nearest, validated

# Rules are called no-images, no-number and no-permit without it.
_TAKEN = ("images", "number", "permit")

Number = Annotated[float, Field(allow_inf_nan=False)]


class Feature(Frozen):
    """What is known of a study: a number in a unit, or one of some classes.

    Attributes:
        resource: where it is told.
        codes: of the question that it answers; of a condition the classes say it all.
        unit: UCUM unit of the number.
        convert: by what a number in another UCUM unit is multiplied; in one that is not here it is missing.
        minimum: a smaller number is missing.
        maximum: a larger number is missing.
        classes: the codes that mean each; of a report its conclusion, of an observation its value.
        absent: the class where nothing is told; None is missing.
        days: the most days between the images and what does not say which images it is about; None is any.
        required: whether a study without it is out.
    """

    resource: Literal["Condition", "Observation", "DiagnosticReport"]
    codes: tuple[CodeText, ...] = ()
    unit: str | None = None
    convert: Mapping[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = {}
    minimum: Number | None = None
    maximum: Number | None = None
    classes: Mapping[Name, Annotated[tuple[CodeText, ...], Field(min_length=1)]] = {}
    absent: Name | None = None
    days: Days | None = 90
    required: bool = False

    @property
    def searched(self) -> tuple[str, ...]:
        """The codes by which it is found; none where all resources of the patient have to be seen."""
        if self.resource == "Condition":
            return tuple(code for codes in self.classes.values() for code in codes)
        return self.codes

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.unit is None) == (not self.classes):
            raise ValueError("it has either a unit, for a number, or classes")
        if self.unit is None and (self.convert or self.minimum is not None or self.maximum is not None):
            raise ValueError("convert, minimum and maximum are for numbers, which have a unit")
        if self.unit is not None and (self.absent is not None or self.resource != "Observation"):
            raise ValueError("numbers come from an Observation, and are missing where there is none")
        if (self.resource == "Condition" and self.codes) or (
            self.resource == "Observation" and not self.codes
        ):
            raise ValueError("an Observation needs codes, and a Condition none, since its classes have them")
        if self.unit in self.convert:
            raise ValueError(f"convert has {self.unit}, which is the unit itself")
        return self

    @model_validator(mode="after")
    def _a_code_means_one_class(self) -> Self:
        told = [code for codes in self.classes.values() for code in codes]
        twice = sorted({code for code in told if told.count(code) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} cannot mean two classes")
        return self


class Requirements(Frozen):
    """What a hospital has to have, so that it can take part.

    Attributes:
        patients: how many at least.
        patients_of_each_class: how many at least with each class of the label.
        features: the least share of studies in which each is known, by name.
    """

    patients: Annotated[int, Field(ge=1)] = 1
    patients_of_each_class: Annotated[int, Field(ge=0)] = 0
    features: Mapping[Name, Annotated[float, Field(ge=0, le=1)]] = {}


class CohortDefinition(Frozen):
    """See the module.

    Attributes:
        name: of the cohort.
        title: what it is, in a line.
        systems: short names of more code systems, each with its addresses.
        who: its patients.
        imaging: their studies.
        features: what is told of each study, by name.
        label: the feature that is learnt; a study without it is out.
        requires: what a hospital has to have.
    """

    name: Name
    title: Annotated[str, Field(max_length=200)] = ""
    systems: Mapping[Name, Annotated[tuple[str, ...], Field(min_length=1)]] = {}
    who: Who
    imaging: Imaging
    features: Mapping[Name, Feature]
    label: Name
    requires: Requirements = Requirements()

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        wanted = {("label", self.label), *(("requires.features", name) for name in self.requires.features)}
        for where, name in sorted(wanted):
            if name not in self.features:
                raise ValueError(f"{where}: {name} is no feature; {nearest(name, self.features)}")
        taken = sorted(self.who.having.keys() & _TAKEN)
        if taken:
            raise ValueError(f"who.having: {taken[0]} is the name of a rule; call it something else")
        near = self.imaging.near
        if near is not None and near.finding not in self.who.having:
            hint = nearest(near.finding, self.who.having)
            raise ValueError(f"imaging.near.finding: {near.finding} is not in who.having; {hint}")
        if not self.features[self.label].classes:
            raise ValueError(f"label: {self.label} is a number; a label has classes")
        return self

    @model_validator(mode="after")
    def _systems_are_known(self) -> Self:
        known = {*SYSTEMS, *self.systems}
        for text in self._texts():
            system = text.partition("|")[0]
            if system not in known:
                raise ValueError(f"{text}: {system} is no code system; {nearest(system, known)}")
        return self

    def codes(self, texts: Iterable[str]) -> frozenset[Code]:
        """The codes as FHIR has them, under every address of their systems."""
        systems = {**SYSTEMS, **self.systems}
        return frozenset().union(*(resolved(text, systems) for text in texts))

    @cached_property
    def all_codes(self) -> frozenset[Code]:
        """Every code that it names."""
        return self.codes(self._texts())

    @property
    def searches(self) -> dict[str, frozenset[Code]]:
        """Kinds of resources that are needed, each with the codes to search for; with none all are."""
        found: dict[str, set[Code]] = {}
        unbounded = set()
        for criterion in (*self.who.having.values(), *self.who.without.values()):
            found.setdefault(criterion.resource, set()).update(self.codes(criterion.codes))
        for feature in self.features.values():
            texts = feature.searched
            found.setdefault(feature.resource, set()).update(self.codes(texts))
            if not texts:
                unbounded.add(feature.resource)
        return {kind: frozenset() if kind in unbounded else frozenset(codes) for kind, codes in found.items()}

    def _texts(self) -> Iterable[str]:
        for criterion in (*self.who.having.values(), *self.who.without.values()):
            yield from (*criterion.codes, *criterion.values)
        yield from self.imaging.body_sites
        for feature in self.features.values():
            yield from feature.codes
            for codes in feature.classes.values():
                yield from codes


def cohort_definition(path: Path) -> CohortDefinition:
    """What stands in a YAML file.

    Raises:
        ConfigError: it cannot be read, or says something that is not known.
    """
    try:
        values = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); see to its path and rights") from error
    except (UnicodeDecodeError, OmegaConfBaseException, YAMLError) as error:
        raise ConfigError(f"{path} cannot be read: {' '.join(str(error).split())[:300]}") from error
    return validated(CohortDefinition, values, str(path.name))
