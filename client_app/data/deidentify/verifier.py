"""Whether a written file still has anything of its original: a search in bytes, apart from what made it.

It shares no code with the table and the cleaning. What it cannot know: an identifier that stands nowhere else
in the file than in an attribute of machines or a code string; and text in pixels, for which it is blind.
"""

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from string import ascii_letters

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset

from client_app.data.deidentify.forms import forms, spellings
from client_app.data.deidentify.identifiers import Identifier, Kind, identifiers
from client_app.data.deidentify.pixel_search import SHORTEST, found_in
from client_app.data.deidentify.quiet import quiet
from client_app.data.refusal import Refused

_META = frozenset((0x0000, 0x0001, 0x0002, 0x0003, 0x0010, 0x0012, 0x0013))
_DOCUMENTS = ("ContentSequence", "EncapsulatedDocument", "TextValue", "UnformattedTextValue")
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
# Of these many a file has one, whoever it is of.
_OF_NOBODY = frozenset(("19000101", "removed", "none", "unknown", "anonymous", "anonymized", "null"))
_UID_OF_THE_STANDARD = re.compile(r"1\.2\.840\.10008(\.[0-9]+)+")
# Names that are words of the standard, too; they are searched for only as a part of something longer.
_WORDS = frozenset(
    (
        *("original", "primary", "secondary", "derived", "axial", "localizer", "helical", "mode", "scan"),
        *("chest", "abdomen", "pelvis", "head", "neck", "brain", "spine", "heart", "lung", "liver", "breast"),
        *("hand", "foot", "knee", "hip", "leg", "arm", "shoulder", "body", "left", "right", "male", "female"),
        *("standard", "soft", "sharp", "bone", "small", "large", "first", "feet", "supine", "prone", "none"),
        *("normal", "other", "image", "series", "study", "patient", "test", "phantom", "medical", "systems"),
    )
)
_SHORT_NAME, _WHOLE_WORD, _SHORT_ID, _SHORT_NUMBER = 3, 6, 4, 6  # letters, or digits, at least
_LONG_NUMBER = 20  # digits; what is longer is in no eight bytes
_TEXTS = ("LO", "SH", "LT", "ST", "UT", "UC", "AE", "UR", "PN", "CS")
_NUMBERS = ("IS", "DS", "US", "SS", "UL", "SL", "UV", "SV", "FL", "FD")


@dataclass(frozen=True)
class _Result:
    """What is searched.

    Attributes:
        header: all bytes but the pixels', in small letters.
        pixels: theirs.
        texts: the values of texts and code strings.
        numbers: the whole numbers that there are, however they are written.
    """

    header: bytes
    pixels: bytes
    texts: frozenset[str]
    numbers: frozenset[int]


def verify(original: Dataset, written: bytes, back: timedelta) -> None:
    """Say nothing of a file that has nothing left of its original.

    Args:
        original: as it was read, with its file meta information.
        written: the whole de-identified file, not deflated.
        back: how far dates were said to be moved; one that by chance is another one, moved, is no finding.

    Raises:
        Refused: ``"identifier-left"`` or ``"not-clean"``; the message says of which attribute, and no value.
    """
    with quiet("not-clean", "the result"):
        result = dcmread(io.BytesIO(written))
        _check_form(written, result)
        _check_meta(result)
        for item in _items(result):
            _check_item(item)
        _check_pixels(result)
        parts = _parts(written, result)
        looked_for = set(identifiers(original))
        moved = _moved([each.text for each in looked_for if each.kind is Kind.DATE], back)
        for each in sorted(looked_for, key=lambda each: each.where):
            if _is_left(each, parts, moved):
                raise _left(each, "is still in the result")
        in_pixels = found_in({form: each for each in looked_for for form in _long_forms(each)}, parts.pixels)
        if in_pixels is not None:
            raise _left(in_pixels, "is among the bytes of the pixels")


def _left(each: Identifier, where: str) -> Refused:
    attribute = "a private attribute" if each.where.is_private else f"attribute {each.where}"
    return Refused("identifier-left", f"{each.kind.value} of {attribute} {where}")


def _check_form(written: bytes, result: Dataset) -> None:
    if written[:132] != bytes(128) + b"DICM":
        raise Refused("not-clean", "the preamble is not empty")
    said = [name for name in ("PatientIdentityRemoved", "DeidentificationMethod") if name in result]
    if said:
        raise Refused("not-clean", f"{said[0]} was said before anybody had looked")


def _check_meta(result: Dataset) -> None:
    if {element.tag.element for element in result.file_meta} - _META:
        raise Refused("not-clean", "the file meta information says more than which file it is")
    if result.file_meta.MediaStorageSOPInstanceUID != result.get("SOPInstanceUID"):
        raise Refused("not-clean", "the file meta information names another SOP instance")


def _check_item(item: Dataset) -> None:
    for element in item:
        name = f"attribute {element.tag}"
        if element.tag.is_private:
            raise Refused("not-clean", "a private attribute is in the result")
        if element.tag.group & 0xFF00 in (0x5000, 0x6000):
            raise Refused("not-clean", f"{name} of a curve or overlay is in the result")
        if element.VR == "UN":
            raise Refused("not-clean", f"{name} has the VR UN")
        if element.keyword in _DOCUMENTS and element.value:
            raise Refused("not-clean", f"{name} holds a report, or a document")
    if any(not text.isascii() for text in _texts(item)):
        raise Refused("not-clean", "a text of the result has other letters than ASCII")


def _check_pixels(result: Dataset) -> None:
    """Native pixels are as long as they say, and set no bit that they say is not stored."""
    if "PixelData" not in result or result.file_meta.TransferSyntaxUID.is_compressed:
        return
    content, allocated = bytes(result.PixelData), int(result.BitsAllocated)
    pixels = int(result.Rows) * int(result.Columns) * int(result.get("NumberOfFrames") or 1)
    samples = 2 if result.PhotometricInterpretation == "YBR_FULL_422" else int(result.SamplesPerPixel)
    length = (pixels * samples * allocated + 7) // 8
    if len(content) != length + length % 2 or any(content[length:]):
        raise Refused("not-clean", "the pixels are longer than they say")
    if allocated in (8, 16, 32) and int(result.BitsStored) < allocated:
        order = "<" if result.file_meta.TransferSyntaxUID.is_little_endian else ">"
        kind = "i" if result.PixelRepresentation else "u"
        values = np.frombuffer(content[:length], f"{order}{kind}{allocated // 8}")
        above, below = allocated - 1 - int(result.HighBit), int(result.HighBit) + 1 - int(result.BitsStored)
        # Up and down again is the same, if above was nothing or the sign.
        if ((values << above) >> above != values).any() or ((values >> below) << below != values).any():
            raise Refused("not-clean", "the pixels use bits that BitsStored does not count")


def _items(dataset: Dataset) -> Iterator[Dataset]:
    yield dataset
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from _items(item)


def _texts(item: Dataset) -> Iterator[str]:
    for element in item:
        if element.VR in _TEXTS:
            several = element.value if element.VM > 1 else [element.value]
            yield from (str(value).strip(" \0") for value in several if value)


def _numbers(item: Dataset) -> Iterator[int]:
    for element in item:
        if element.VR in _NUMBERS:
            several = element.value if element.VM > 1 else [element.value]
            yield from (int(value) for value in several if value not in (None, "") and value % 1 == 0)


def _parts(written: bytes, result: Dataset) -> _Result:
    texts = frozenset(text for item in _items(result) for text in _texts(item))
    pixels = next((bytes(result[tag].value) for tag in _PIXELS if tag in result), b"")
    start = written.rfind(pixels) if pixels else len(written)
    header = written[:start] + b"|" + written[start + len(pixels) :]
    numbers = frozenset(number for item in _items(result) for number in _numbers(item))
    return _Result(header.lower(), pixels, texts, numbers)


def _moved(dates: Sequence[str], back: timedelta) -> frozenset[str]:
    """The dates that may stand in the result."""
    days = map(_day, dates)
    return frozenset(_digits(day - back) for day in days if day is not None and day > date.min + back)


def _digits(day: date) -> str:
    return day.isoformat().replace("-", "")


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text.replace(".", "")[:8])
    except ValueError:
        return None


def _is_left(each: Identifier, result: _Result, moved: frozenset[str]) -> bool:
    text = each.text
    if _is_nobodys(each):
        return False
    if each.kind is Kind.DATE:
        digits = text.replace(".", "")[:8]
        # A time may follow it.
        found = re.search(rb"(?<![0-9.])" + re.escape(digits.encode(errors="replace")), result.header)
        there = found is not None or _is_number(digits, result)
        return len(digits) == 8 and digits not in moved and there
    if each.kind is Kind.UID:
        return _number_in(text, result.header) if len(text) > _SHORT_NUMBER else text in result.texts
    if text.isascii() and text.isdigit():
        return _digits_left(each, result)
    shortest = _SHORT_NAME if each.kind is Kind.NAME else _SHORT_ID
    if len(text) < shortest and text.isascii():
        return False
    found_in_bytes = (
        _in_header(form, result) for spelt in spellings(text) for form in forms(spelt, each.encodings)
    )
    return (each.kind is Kind.ID and _is_number(text.lstrip(ascii_letters), result)) or any(found_in_bytes)


def _long_forms(each: Identifier) -> Iterator[bytes]:
    """What is long enough not to occur in compressed pixels by chance."""
    if each.kind in (Kind.NAME, Kind.ID, Kind.TEXT) and not _is_nobodys(each):
        yield from (form for form in forms(each.text, each.encodings) if len(form) >= SHORTEST)


def _is_nobodys(each: Identifier) -> bool:
    folded = each.text.casefold()
    is_word = each.kind is Kind.NAME and folded in _WORDS
    return folded in _OF_NOBODY or is_word or _UID_OF_THE_STANDARD.fullmatch(folded) is not None


def _digits_left(each: Identifier, result: _Result) -> bool:
    """Long numbers are searched for everywhere; those as long as a time or a count only in texts."""
    if len(each.text) > _SHORT_NUMBER:
        return _number_in(each.text, result.header) or _is_number(each.text, result)
    return len(each.text) >= _SHORT_ID and _number_in(each.text, "\n".join(result.texts).encode())


def _is_number(digits: str, result: _Result) -> bool:
    """Whether a number of the result is just this one: in bytes, with other zeros, or as a float has it."""
    bare = digits.lstrip("0")
    may_be = bare.isdecimal() and _SHORT_NUMBER < len(bare) <= _LONG_NUMBER
    return may_be and not result.numbers.isdisjoint((int(bare), int(np.float32(bare))))


def _number_in(digits: str, content: bytes) -> bool:
    """Whether it stands there, not as a part of a longer number."""
    found = re.escape(digits.lower().encode(errors="replace"))
    return re.search(rb"(?<![0-9.])" + found + rb"(?![0-9]|\.[0-9])", content) is not None


def _in_header(form: bytes, result: _Result) -> bool:
    small = form.lower()
    if len(form) < _WHOLE_WORD and form.isalnum():
        return re.search(rb"(?<![a-z0-9])" + re.escape(small) + rb"(?![a-z0-9])", result.header) is not None
    return len(form) >= _SHORT_NAME and small in result.header
