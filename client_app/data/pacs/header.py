"""What a file says it is, without a look at the rest, and without a word about it."""

from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset
from pydicom.filereader import read_file_meta_info, read_partial
from pydicom.tag import BaseTag, Tag

from client_app.data.pacs.syntaxes import TRANSFER_SYNTAXES
from client_app.data.refusal import Refused

SOP_CLASS, SOP_INSTANCE = Tag("SOPClassUID"), Tag("SOPInstanceUID")
STUDY, SERIES = Tag("StudyInstanceUID"), Tag("SeriesInstanceUID")
_SYNTAX, _LENGTH = Tag("TransferSyntaxUID"), 12
_PREAMBLE = 132


@dataclass(frozen=True, repr=False)
class Header:
    """As the data set says, not as it was announced."""

    sop_class: str
    uid: str
    study: str
    series: str


def read_header(path: Path) -> Header:
    """The header of a DICOM file.

    Raises:
        Refused: it cannot be read (``not-dicom``), or is in a transfer syntax that is not taken
            (``transfer-syntax``).
    """
    try:
        syntax = raw_text(read_file_meta_info(path), _SYNTAX)
        if syntax in TRANSFER_SYNTAXES:
            with path.open("rb") as file:
                found = read_partial(
                    file,
                    stop_when=lambda tag, _vr, _length: tag > SERIES,
                    specific_tags=[SOP_CLASS, SOP_INSTANCE, STUDY, SERIES],
                )
            return Header(*(raw_text(found, tag) for tag in (SOP_CLASS, SOP_INSTANCE, STUDY, SERIES)))
    except Exception:  # whatever pydicom raises for a stranger's bytes; it may quote them
        syntax = None
    if syntax is None:
        raise Refused("not-dicom", "a file from the archive cannot be read as DICOM")
    raise Refused(
        "transfer-syntax", "a file from the archive is deflated or otherwise encoded as is not taken"
    )


def raw_text(dataset: Dataset, tag: BaseTag) -> str:
    """An ASCII value as it stands, since pydicom warns of a wrong one with the value in the warning."""
    element = dataset.get_item(tag)
    value = None if element is None else element.value
    if isinstance(value, bytes):
        return value.decode("ascii", errors="replace").strip("\0 ")
    return str(value) if value else ""


def same_dataset(one: Path, other: Path) -> bool:
    """Whether two files hold the same bytes after their file meta information, which tells of the way."""
    with one.open("rb") as left, other.open("rb") as right:
        for file in (left, right):
            beginning = file.read(_PREAMBLE + _LENGTH)
            file.seek(len(beginning) + int.from_bytes(beginning[-4:], "little"))
        while (block := left.read(1 << 20)) == right.read(1 << 20):
            if not block:
                return True
    return False
