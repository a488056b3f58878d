"""A data set built anew of what may stay of another; what is not copied is not there."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag

from client_app.data.deidentify import values
from client_app.data.deidentify.rules import PIXELS, Action, Decision, decide
from client_app.data.keys import Pseudonyms
from client_app.data.refusal import Refused

_DEEPEST = 16  # sequences in sequences; PS3.3 needs half as many
_BINARY = frozenset(
    ("OB", "OW", "OL", "OF", "OV", "OD", "US", "SS", "UL", "SL", "UV", "SV", "FL", "FD", "AT")
)


@dataclass(frozen=True)
class Explained:
    """What was done with one attribute, and why; no value is in it.

    Attributes:
        tag: where it stands, e.g. ``"0040,0275 > 0040,0007"``.
        name: what it is called, e.g. ``"RequestAttributesSequence > ScheduledProcedureStepDescription"``.
        action: what was done.
        reason: why.
    """

    tag: str
    name: str
    action: Action
    reason: str


@dataclass(frozen=True)
class Cleaning:
    """One file's cleaning.

    Attributes:
        pseudonyms: the key that stands for names and UIDs.
        patient: the file's PatientID.
        explain: is told of every attribute.
    """

    pseudonyms: Pseudonyms
    patient: str
    explain: Callable[[Explained], None] = field(default=lambda _: None)

    @property
    def shift(self) -> timedelta:
        """How far all dates go back."""
        return self.pseudonyms.shift(self.patient)

    def cleaned(self, dataset: Dataset, above: tuple[BaseTag, ...] = ()) -> Dataset:
        """What may stay of ``dataset``, an item at ``above``.

        Raises:
            Refused: ``"uid"``, or ``"nested-too-deep"``.
        """
        if len(above) > _DEEPEST:
            raise Refused("nested-too-deep", f"it has sequences in more than {_DEEPEST} others")
        clean = Dataset()
        for tag in sorted(dataset.keys()):
            decision = decide(Tag(tag))
            element, decision = self._element(dataset, Tag(tag), decision, above)
            self._explain((*above, Tag(tag)), decision)
            if element is not None:
                clean.add(element)
        return clean

    def _element(
        self, dataset: Dataset, tag: BaseTag, decision: Decision, above: tuple[BaseTag, ...]
    ) -> tuple[DataElement | None, Decision]:
        """The attribute as it may stay, or None, and what in the end was done."""
        if decision.action is Action.REMOVE:
            return None, decision
        if above and keyword_for_tag(tag) in PIXELS:
            return None, Decision(Action.REMOVE, "pixels within a sequence: nobody looks at them")
        vr = _usable_vr(dataset, tag)
        if vr is None:
            return None, Decision(Action.REMOVE, "its VR is not that of PS3.6, or it cannot be read")
        value = self._value(dataset, tag, vr, decision, above)
        if value is None:
            return None, Decision(Action.REMOVE, f"{decision.reason}; its value is not plain")
        return DataElement(tag, vr, value), decision

    def _value(
        self, dataset: Dataset, tag: BaseTag, vr: str, decision: Decision, above: tuple[BaseTag, ...]
    ) -> object:
        action = decision.action
        if action in (Action.EMPTY, Action.DUMMY, Action.PSEUDONYM):
            return self._replacement(vr, action)
        if vr == "SQ":
            items = (self.cleaned(item, (*above, tag)) for item in dataset[tag].value)
            return Sequence([item for item in items if len(item)])
        if action is Action.CLEAN:
            return _of_code(dataset, keyword_for_tag(tag))
        if vr in _BINARY:
            return dataset[tag].value
        return self._texts(vr, list(_each(dataset[tag].value)), action)

    def _replacement(self, vr: str, action: Action) -> object:
        if action is Action.PSEUDONYM:
            return self.pseudonyms.patient(self.patient)
        if action is Action.EMPTY:
            return Sequence() if vr == "SQ" else ""
        return values.dummy(vr)

    def _texts(self, vr: str, texts: list[str], action: Action) -> list[str] | str | None:
        """Every value of an attribute as it may stay; None where one may not."""
        clean = [self._text(vr, text, action) for text in texts]
        if action is Action.SHIFT:  # a date that is none is emptied, since many an IOD asks for a date
            return [text or "" for text in clean]
        return None if None in clean else [text for text in clean if text is not None]

    def _text(self, vr: str, text: str, action: Action) -> str | None:
        if not text:
            return text
        if action is Action.UID:
            return values.uid(text, self.pseudonyms)
        return values.shifted(vr, text, self.shift) if action is Action.SHIFT else values.kept(vr, text)

    def _explain(self, path: tuple[BaseTag, ...], decision: Decision) -> None:
        tags = " > ".join(f"{tag.group:04X},{tag.element:04X}" for tag in path)
        names = " > ".join(keyword_for_tag(tag) or ("private" if tag.is_private else "–") for tag in path)
        self.explain(Explained(tags, names, decision.action, decision.reason))


def _usable_vr(dataset: Dataset, tag: BaseTag) -> str | None:
    """The VR of an attribute that can be read and is encoded as PS3.6 says, or None."""
    try:
        vr = str(dataset[tag].VR)
    except Exception:  # of any kind; what cannot be read is removed
        return None
    of_standard = dictionary_VR(tag).split(" or ")
    if vr in of_standard or vr == " or ".join(of_standard):
        return vr
    return None


def _each(value: object) -> Iterator[str]:
    """The values of an attribute, as texts without padding."""
    several = value if isinstance(value, MultiValue | list | tuple) else [value]
    for one in several:
        original = getattr(one, "original_string", None)  # of a number, as it stood there
        yield ("" if one is None else str(original if isinstance(original, str) else one)).strip(" \0")


def _of_code(item: Dataset, keyword: str) -> str | None:
    """That attribute of a coded item whose code is the standard's, or None."""
    known = values.code(item)
    if known is None or keyword == "LongCodeValue":
        return None
    return {
        "CodeValue": known.value,
        "CodingSchemeDesignator": known.scheme_designator,
        "CodeMeaning": known.meaning,
    }.get(keyword)
