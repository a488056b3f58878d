"""A value, cleaned; None is one that cannot be kept."""

import re
from datetime import date, timedelta
from functools import cache

from pydicom import config
from pydicom.dataset import Dataset
from pydicom.sr._snomed_dict import mapping
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import UID

from client_app.data.keys import Pseudonyms
from client_app.data.refusal import Refused

_DATE = re.compile(r"\d{8}|\d{4}\.\d{2}\.\d{2}")  # the second until 1993
_TIME = re.compile(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?")
_DATE_TIME = re.compile(r"\d{8}(\d{2}(?:\d{2}(?:\d{2}(?:\.\d{1,6})?)?)?)?(?:[+-]\d{4})?")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_PLAIN = re.compile(r"[A-Za-z0-9 ._/+\-()%*#:,\[\]]{0,64}")
_AGE = re.compile(r"(\d{3})([DWMY])")
_YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
_OLDEST = 89  # ages above identify by being rare (45 CFR 164.514(b)(2)(i)(C))
_UID = re.compile(r"[0-9.]{1,64}")
_DUMMIES: dict[str, object] = {
    **dict.fromkeys(("PN", "AE"), "REMOVED"),
    **dict.fromkeys(("IS", "DS"), "0"),
    **dict.fromkeys(("US", "SS", "UL", "SL", "UV", "SV", "AT"), 0),
    **dict.fromkeys(("FL", "FD"), 0.0),
    **dict.fromkeys(("OB", "OW", "OL", "OF", "OV", "OD"), bytes(8)),
    "UR": "urn:removed",
    "DA": "19000101",
    "DT": "19000101000000",
    "TM": "000000",
    "AS": "000Y",
}


def dummy(vr: str) -> object:
    """What stands where the table asks for a value that says nothing."""
    return _DUMMIES.get(vr, "REMOVED")


def kept(vr: str, text: str) -> str | None:
    """One value of an attribute that is kept, if it is what its VR says and no identifier."""
    if vr == "TM":
        bare = text.replace(":", "")
        return bare if _TIME.fullmatch(bare) else None
    if vr in ("IS", "DS"):
        return text if not text or _NUMBER.fullmatch(text) else None
    return age(text) if vr == "AS" else plain(text)


def plain(text: str) -> str | None:
    """A text of a maker's or the standard's words: ASCII, short, and without long numbers."""
    # Telephone numbers, dates and numbers of patients; the versions of software are shorter.
    return text if _PLAIN.fullmatch(text) and not re.search(r"\d{6}", text) else None


def age(text: str) -> str | None:
    """An age (PS3.5 6.2 AS); of those above 89 years only that."""
    match = _AGE.fullmatch(text)
    if not match:
        return None
    return "090Y" if int(match[1]) * _YEARS[match[2]] > _OLDEST else text


def shifted(vr: str, text: str, back: timedelta) -> str | None:
    """A date (DA), or a date and a time (DT), ``back`` earlier; the time stays, a time zone does not."""
    match = (_DATE if vr == "DA" else _DATE_TIME).fullmatch(text)
    if not match:
        return None
    try:
        earlier = date.fromisoformat(text.replace(".", "")[:8]) - back
    except (ValueError, OverflowError):  # no day of the calendar, or before the year 1
        return None
    moved = earlier.isoformat().replace("-", "")
    return moved if vr == "DA" else moved + (match[1] or "")


def uid(text: str, pseudonyms: Pseudonyms) -> str:
    """A UID: DICOM's own as it is, any other replaced.

    Raises:
        Refused: ``"uid"``, it has other letters than digits and dots, or too many; it may be a path.
    """
    if not text:
        return text
    if not _UID.fullmatch(text):
        raise Refused(
            "uid", "a UID has letters other than digits and dots, or over 64; mend it at its source"
        )
    of_dicom = UID(text, config.IGNORE).name != text  # PS3.6 has a name for it
    return text if of_dicom else pseudonyms.uid(text)


def code(item: Dataset) -> Code | None:
    """The coded item's code as the standard has it, with the standard's own meaning, or None."""
    value, scheme = item.get("CodeValue"), item.get("CodingSchemeDesignator")
    if not isinstance(value, str) or not isinstance(scheme, str):
        return None
    known = ("SCT", mapping["SRT"].get(value, "")) if scheme in ("SRT", "SNM3") else (scheme, value)
    meaning = _meanings().get(known)
    return None if meaning is None else Code(value, scheme, meaning)


@cache
def _meanings() -> dict[tuple[str, str], str]:
    """What every code means that the context groups of PS3.16 have."""
    schemes = (getattr(codes, scheme).concepts.values() for scheme in codes.schemes())
    return {(code.scheme_designator, code.value): code.meaning for scheme in schemes for code in scheme}
