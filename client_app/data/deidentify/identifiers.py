"""What in a file could tell who it is of; for the verifier, which knows nothing of the table.

It goes by VR: every name, every UID that is not DICOM's, every date, every identifier and every text,
wherever it stands, private and file-meta too. Only the words of machines and code strings are nobody's.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID
from pydicom.valuerep import TEXT_VR_DELIMS


class Kind(Enum):
    """What sort of identifier, which says how it is searched for."""

    NAME = "a part of a name"
    ID = "an identifier"
    DATE = "a date"
    UID = "a UID"
    TEXT = "a text"
    NOBODYS = "a word of machines, or a code"


@dataclass(frozen=True)
class Identifier:
    """One value of the original.

    Attributes:
        kind: of what sort it is.
        text: the value.
        where: the attribute that had it.
        encodings: Python's names of the character sets that were declared there.
    """

    kind: Kind
    text: str
    where: BaseTag
    encodings: tuple[str, ...]


_TEXTS = frozenset(("LO", "SH", "LT", "ST", "UT", "UC", "AE", "UR"))
_BYTES = frozenset(("UN", "OB", "OW", "OL", "OF", "OD", "OV"))
_OF_IDS = re.compile(r"(ID|IDs|Number|Numbers|Identifier|Barcode\w*)$")
# What a maker calls its machine, and codes; found in many a patient's file alike.
_OF_MACHINES = re.compile(
    r"^Manufacturer|ModelName$|^SoftwareVersions$|Kernel|FilterType|SequenceName|^Coding|^Code|Scheme|"
    r"^RescaleType|^ImagedNucleus|^ModalityLUT|Method$|^AcquisitionMode|^TypeOfFilters|^ContrastBolusRoute|"
    r"^ImplementationVersionName|^MappingResource|^Context|SOPClass|^RequestedSOPClass"
)
_NAME_PARTS = re.compile(r"[\^=\s,.;/\\()\"'-]+")
_PRINTED = re.compile(rb"[\x20-\x7e\x80-\xff]{6,}")
# Looked at as pixels, where text would have to be seen; what letters their bytes make is chance.
_IMAGES = re.compile(r"PixelData$|LookupTableData$|^LUTData$")
_LONGEST = 1 << 16  # bytes of a binary value that are looked through for texts


def identifiers(original: Dataset) -> Iterator[Identifier]:
    """Every identifying value of a file: of its data set, and of its file meta information."""
    found = list(_of(original, ("iso8859",)))
    found += _of(getattr(original, "file_meta", None) or Dataset(), ("iso8859",))
    nobodys = "\n".join(one.text.casefold() for one in found if one.kind is Kind.NOBODYS)
    for each in found:
        if each.kind is not Kind.NOBODYS and not (_may_be_a_word(each) and each.text.casefold() in nobodys):
            yield each


def _may_be_a_word(found: Identifier) -> bool:
    """Whether it is nobody's where a machine says the same: operators are called as makers are."""
    if found.kind is Kind.TEXT:
        return True
    return found.kind in (Kind.NAME, Kind.ID) and found.where.group != 0x0010 and found.text.isalpha()


def _of(dataset: Dataset, inherited: tuple[str, ...]) -> Iterator[Identifier]:
    encodings = _encodings(dataset) or inherited
    for tag in list(dataset.keys()):
        item = dataset.get_item(tag)
        vr = _vr(item, Tag(tag))
        if _IMAGES.search(keyword_for_tag(tag)):
            continue
        if vr == "SQ":
            for inner in _items(dataset, tag):
                yield from _of(inner, encodings)
            continue
        for text in _texts(item, vr, encodings):
            for kind, part in _kinds(vr, Tag(tag), text):
                yield Identifier(kind, part, Tag(tag), encodings)


def _kinds(vr: str, tag: BaseTag, text: str) -> Iterator[tuple[Kind, str]]:
    keyword = keyword_for_tag(tag)
    if vr == "PN":
        yield from ((Kind.NAME, part) for part in _NAME_PARTS.split(text) if part)
        yield Kind.TEXT, text
    elif vr == "UI":
        if keyword != "ImplementationClassUID" and UID(text).name == text:  # it is not in PS3.6
            yield Kind.UID, text
    elif vr in ("DA", "DT"):
        yield Kind.DATE, text
    elif vr == "CS" or (vr in _TEXTS and not tag.is_private and _OF_MACHINES.search(keyword)):
        yield Kind.NOBODYS, text
    elif vr in _TEXTS or vr in _BYTES:
        yield Kind.ID if vr in _TEXTS and _OF_IDS.search(keyword) else Kind.TEXT, text
        yield from ((Kind.ID, number) for number in re.findall(r"[A-Za-z]*\d{6,}", text))


def _texts(item: object, vr: str, encodings: tuple[str, ...]) -> Iterator[str]:
    """The values of one attribute, decoded as its file says; of binary ones, what in them can be read."""
    value = getattr(item, "value", None)
    if vr in _BYTES:
        if isinstance(value, bytes) and len(value) <= _LONGEST:
            yield from (run.decode("latin-1").strip() for run in _PRINTED.findall(value))
    elif isinstance(item, RawDataElement) or isinstance(value, bytes):
        content = value if isinstance(value, bytes) else b""
        delimiters = TEXT_VR_DELIMS if vr != "PN" else {0x5C, 0x5E, 0x3D}
        several = decode_bytes(content, list(encodings), delimiters).split("\\")
        yield from (text for each in several if (text := each.strip(" \0")))
    else:
        values = value if isinstance(value, MultiValue | list | tuple) else [value]
        yield from (text for each in values if each is not None and (text := str(each).strip(" \0")))


def _vr(item: object, tag: BaseTag) -> str:
    vr = getattr(item, "VR", None)
    if vr in (None, "UN") and not tag.is_private:
        try:
            return dictionary_VR(tag).split(" or ")[0]
        except KeyError:
            return "UN"
    return str(vr or "UN")


def _items(dataset: Dataset, tag: int) -> Iterator[Dataset]:
    """The items of a sequence; none of one that cannot be read, which then is not in the result either."""
    try:
        yield from dataset[tag].value or ()
    except Exception:  # of any kind
        return


def _encodings(dataset: Dataset) -> tuple[str, ...]:
    try:
        named = dataset.get("SpecificCharacterSet")
        return (
            tuple(convert_encodings(list(named) if isinstance(named, MultiValue) else named)) if named else ()
        )
    except Exception:  # a character set that nobody knows
        return ()
