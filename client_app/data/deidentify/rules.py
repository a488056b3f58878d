"""What is done with one attribute, and why; decided by its tag alone, before its value is seen.

The table comes first. What it does not list is let through only by a rule of its own, so that what nobody has
thought of is removed:

- private attributes, those that PS3.6 does not know, curves, overlays and group lengths go;
- sequences are gone through, and coded items are kept only where the standard has their code;
- UIDs that DICOM itself registers stay, all others are replaced;
- dates are shifted, times stay, numbers stay where they are numbers;
- code strings, and the few texts in ``KEPT_TEXTS``, stay where they are plain (``values.plain``);
- of binary values, only pixels and their look-up tables stay.
"""

from dataclasses import dataclass
from enum import StrEnum

from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
from pydicom.tag import BaseTag

from client_app.data.deidentify.table import Row, row_of


class Action(StrEnum):
    """The standard's codes (PS3.15 Table E.1-1a), and two of our own for what its C and D mean here."""

    REMOVE = "X"
    EMPTY = "Z"
    DUMMY = "D"
    UID = "U"
    KEEP = "K"
    CLEAN = "C"
    SHIFT = "C (shifted)"
    PSEUDONYM = "D (pseudonym)"


@dataclass(frozen=True)
class Decision:
    """What is done with an attribute.

    Attributes:
        action: as in the standard.
        reason: where that is written.
    """

    action: Action
    reason: str


# How a machine or its software is called, by makers and not by hospitals: why images differ between sites.
KEPT_TEXTS = frozenset(
    (
        *("Manufacturer", "ManufacturerModelName", "SoftwareVersions"),
        *("ConvolutionKernel", "FilterType", "SequenceName", "PulseSequenceName", "ImagedNucleus"),
        *("RescaleType", "ModalityLUTType", "AttenuationCorrectionMethod", "ReconstructionMethod"),
        *("ScatterCorrectionMethod", "TypeOfFilters", "AcquisitionMode", "ContrastBolusRoute"),
    )
)
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
KEPT_BINARIES = frozenset(
    (
        *(*PIXELS, "LUTData"),
        *(f"{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue", "Alpha")),
        *(f"Segmented{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")),
    )
)
CODE_KEYWORDS = frozenset(("CodeValue", "LongCodeValue", "CodingSchemeDesignator", "CodeMeaning"))
# What a file says of how it was de-identified, and in what letters, is said anew or not at all.
_SAID_ANEW = frozenset(
    (
        *("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence"),
        *("LongitudinalTemporalInformationModified", "RecognizableVisualFeatures"),
        *("SpecificCharacterSet", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
    )
)
_NUMBERS = frozenset(("IS", "DS", "US", "SS", "UL", "SL", "UV", "SV", "FL", "FD", "AT"))
_BY_VR = {
    "SQ": (Action.CLEAN, "a sequence is gone through"),
    "UI": (Action.UID, "UIDs are replaced but for DICOM's own"),
    "DA": (Action.SHIFT, "dates are shifted"),
    "DT": (Action.SHIFT, "dates are shifted"),
}


def decide(tag: BaseTag) -> Decision:
    """What is done with the attribute ``tag``, wherever it stands in a file."""
    unknown = _unknown(tag)
    if unknown:
        return Decision(Action.REMOVE, unknown)
    keyword = keyword_for_tag(tag)
    if keyword in _SAID_ANEW:
        return Decision(Action.REMOVE, "said anew, or not at all")
    if keyword in ("PatientID", "PatientName"):
        return Decision(Action.PSEUDONYM, "the patient's pseudonym")
    row = row_of(tag)
    return _in_table(row, dictionary_VR(tag)) if row else _outside(keyword, dictionary_VR(tag))


def _unknown(tag: BaseTag) -> str:
    """Why nobody can say what the attribute means that is to be kept; empty where somebody can."""
    if tag.is_private:
        return "private"
    if tag.group & 0xFF00 in (0x5000, 0x6000):
        return "overlay or curve"
    if tag.element == 0:
        return "group length"
    return "" if dictionary_has_tag(tag) else "not in the dictionary of DICOM PS3.6"


def _in_table(row: Row, vr: str) -> Decision:
    if row.dates == "C" and vr in ("DA", "DT", "TM"):
        action = Action.KEEP if vr == "TM" else Action.SHIFT
        return Decision(action, "option Modified Dates: C")
    if row.patient == "K" and vr in ("AS", "CS", *_NUMBERS):
        return Decision(Action.KEEP, "option Patient Characteristics: K")
    codes = row.basic.split("/")
    reason = f"Basic Profile: {row.basic}"
    if vr == "SQ":
        if "U*" in codes:
            return Decision(Action.CLEAN, reason)
        # A dummy item would need a dummy of each of its attributes; none is nobody's either.
        return Decision(Action.REMOVE if codes == ["X"] else Action.EMPTY, reason)
    if "U" in codes or (vr == "UI" and "D" in codes):
        return Decision(Action.UID, reason)
    # Without knowing which type an attribute has in each IOD, what suits the strictest of them is done.
    strictest = next(action for action in (Action.DUMMY, Action.EMPTY, Action.REMOVE) if action in codes)
    return Decision(strictest, reason)


def _outside(keyword: str, vr: str) -> Decision:
    if keyword in CODE_KEYWORDS:
        return Decision(Action.CLEAN, "not in the table; codes of the standard are kept")
    if vr in _BY_VR:
        action, reason = _BY_VR[vr]
        return Decision(action, f"not in the table; {reason}")
    if keyword in KEPT_TEXTS or keyword in KEPT_BINARIES:
        return Decision(Action.KEEP, "not in the table; on the list of what is kept")
    if vr.split(" or ", maxsplit=1)[0] in (*_NUMBERS, "TM", "AS", "CS"):
        return Decision(Action.KEEP, f"not in the table; a plain {vr} is kept")
    return Decision(Action.REMOVE, f"not in the table; a {vr} that is not on the list of what is kept")
