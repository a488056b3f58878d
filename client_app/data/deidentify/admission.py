"""Which files are not taken at all, by what they say of themselves."""

import re
import unicodedata
from collections.abc import Iterator

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import UID

from client_app.data.deidentify.options import Options
from client_app.data.refusal import Refused

# What a storage class is called in PS3.6 Table A-1, and the rule that keeps it out; the first that fits.
_KINDS = (
    (r"\bSR\b|Report|Key Object|Procedure Log|Measurements|Calculations", "structured-report"),
    (r"Encapsulated", "encapsulated-document"),
    (r"Presentation State|Structured Display", "presentation-state"),
    (r"Waveform|Electro|Oculogram|Body Position", "waveform"),
    (r"Overlay|Curve", "overlay-or-curve"),
    (r"Video", "video"),
)
_IMAGE = re.compile(r"Image Storage|^Segmentation Storage|^Parametric Map|^RT Dose|^Photoacoustic|US Volume")
# Machines write names into these, or they are photographs of screens, people, labels.
_QUARANTINE = re.compile(
    r"Ultrasound|US Volume|Secondary Capture|Angiographic|Enhanced XA|XRF|Radiofluoroscopic|Nuclear Medicine|"
    r"^VL |Photograph|Ophthalm|Endoscop|Microscop|Dermoscop|Hardcopy|RT Image|Intravascular|Photoacoustic"
)
_SCREENS = ("SCREEN SAVE", "SCREENSHOT", "SCREEN", "DOSE_INFO", "DOSE INFO", "PATIENT PROTOCOL", "SCANNED")
_COLOURED = ("RGB", "YBR", "PALETTE")
_VOLUMES = ("CT", "MR", "PT")
# Regions from which a face, or an ear, can be rendered; as written in several languages.
_HEADS = re.compile(
    r"head|brain|skull|crani|\bface\b|facial|maxill|mandib|orbit|sinus|nasal|dental|jaw|temporal bone|pituit|"
    r"cerebr|enceph|neuro|mastoid|inner ear|\biac\b|\bent\b|\bstroke\b|circle of willis|whole ?body|"
    r"kopf|sch(a|ae)del|gehirn|gesicht|hirn|kiefer|tete|crane|cerveau|visage|cabeza|cerebro|craneo|\bcara\b|"
    r"testa|cervello|encefal|hoofd|hersen|schedel|huvud|hjarn|голов|мозг|頭|头|脳|脑|뇌|두부"
)
_REGION = (
    "BodyPartExamined",
    "StudyDescription",
    "SeriesDescription",
    "ProtocolName",
    "RequestedProcedureDescription",
)


def admit(dataset: Dataset, options: Options) -> None:
    """Say nothing of a file that may be de-identified.

    Raises:
        Refused: by ``"no-patient-id"``, ``"no-uid"``, ``"unknown-sop-class"``, ``"structured-report"``,
            ``"encapsulated-document"``, ``"presentation-state"``, ``"waveform"``, ``"overlay-or-curve"``,
            ``"video"``, ``"not-an-image"``, ``"burned-in-annotation"``, ``"quarantined-class"``,
            ``"screenshot"`` or ``"head"``.
    """
    name = _class_of(dataset)
    rule = next((rule for pattern, rule in _KINDS if re.search(pattern, name)), "")
    if rule:
        raise Refused(rule, f"{name} is text, or is drawn with text; none is taken")
    if not _IMAGE.search(name):
        raise Refused("not-an-image", f"{name} is no image; only images are taken")
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        if len(_texts(dataset, keyword)) != 1:
            raise Refused("no-uid", f"{keyword} is missing, or is several; mend the file at its source")
    if not _texts(dataset, "PatientID"):
        raise Refused(
            "no-patient-id", "PatientID is missing: nobody can say whose dates these are; fill it in"
        )
    _admit_pixels(dataset, name, options)
    _admit_region(dataset, options)


def often_has_text(dataset: Dataset) -> bool:
    """Whether images of its class often have text in them, or it is in colour."""
    return bool(_QUARANTINE.search(_class_of(dataset))) or _coloured(dataset)


def _coloured(dataset: Dataset) -> bool:
    return any(text.startswith(_COLOURED) for text in _texts(dataset, "PhotometricInterpretation"))


def _class_of(dataset: Dataset) -> str:
    uid = UID("".join(_texts(dataset, "SOPClassUID")))
    if uid.type != "SOP Class":
        raise Refused(
            "unknown-sop-class", "SOPClassUID is none of DICOM PS3.6; only the standard's are taken"
        )
    return uid.name


def _admit_pixels(dataset: Dataset, name: str, options: Options) -> None:
    annotated = _texts(dataset, "BurnedInAnnotation")
    if annotated not in ([], ["NO"]):
        raise Refused("burned-in-annotation", "BurnedInAnnotation does not say NO; clean the pixels first")
    if _QUARANTINE.search(name) and not (options.trust_annotation and annotated == ["NO"]):
        raise Refused(
            "quarantined-class",
            f"{name} often has text in its pixels; look at them, and where BurnedInAnnotation says NO and is "
            "to be trusted, --trust-annotation takes it",
        )
    said = any(screen in text for text in _texts(dataset, "ImageType") for screen in _SCREENS)
    if said or (_coloured(dataset) and not _QUARANTINE.search(name) and not name.startswith("Segmentation")):
        raise Refused("screenshot", f"a {name} in colour, or of a screen, is likely to show a name")


def _admit_region(dataset: Dataset, options: Options) -> None:
    keyword = speaks_of_head(dataset)
    if keyword and not options.allow_heads:
        raise Refused(
            "head",
            f"{keyword} speaks of a head, whose face can be rendered; deface it first, or --allow-heads",
        )


def speaks_of_head(dataset: Dataset) -> str:
    """Which attribute of a CT, MR or PET says that it is of a head; empty where none does."""
    if not set(_texts(dataset, "Modality")) & set(_VOLUMES):
        return ""
    return next((keyword for keyword, text in _regions(dataset) if _HEADS.search(_bare(text))), "")


def _regions(dataset: Dataset) -> Iterator[tuple[str, str]]:
    for keyword in _REGION:
        yield from ((keyword, text) for text in _texts(dataset, keyword))
    for item in dataset.get("AnatomicRegionSequence", None) or ():
        yield from (("AnatomicRegionSequence", text) for text in _texts(item, "CodeMeaning"))


def _bare(text: str) -> str:
    """In small letters, without accents, and with spaces for what some systems write instead."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(" " if each in "_-^." else each for each in letters if not unicodedata.combining(each))
    return unicodedata.normalize("NFC", bare)  # Korean letters together again


def _texts(dataset: Dataset, keyword: str) -> list[str]:
    """The values of an attribute; none where it is missing, empty, or cannot be read."""
    value = dataset.get(keyword)
    several = value if isinstance(value, MultiValue | list) else [value]
    return [text for each in several if each is not None and (text := str(each).strip(" \0"))]
