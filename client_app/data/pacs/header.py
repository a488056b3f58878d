"""What a file says it is, without a look at the rest, and without a word about it."""

from collections.abc import Sequence
from pathlib import Path

from pydicom import Dataset
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.filereader import read_file_meta_info, read_partial
from pydicom.tag import Tag
from pydicom.valuerep import TEXT_VR_DELIMS

from client_app.data.pacs.syntaxes import TRANSFER_SYNTAXES
from client_app.data.refusal import Refused, is_of_the_machine

IDENTITY = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_LAST = Tag("SeriesInstanceUID")
_PREAMBLE, _LENGTH = 132, 12


def read_header(path: Path, keywords: Sequence[str] = IDENTITY) -> dict[str, str]:
    """Some attributes of a DICOM file, none behind the Series Instance UID; empty where it has none.

    Raises:
        Refused: it cannot be read (``not-dicom``), or is in a transfer syntax that is not taken
            (``transfer-syntax``).
        OSError: the disk does not give it.
    """
    try:
        syntax = text(read_file_meta_info(path), "TransferSyntaxUID")
        if syntax in TRANSFER_SYNTAXES:
            with path.open("rb") as file:
                found = read_partial(
                    file,
                    stop_when=lambda tag, _vr, _length: tag > _LAST,
                    specific_tags=[Tag(keyword) for keyword in keywords],
                )
            return {keyword: text(found, keyword) for keyword in keywords}
    except Exception as error:  # whatever pydicom raises for a stranger's bytes; it may quote them
        if isinstance(error, OSError) and is_of_the_machine(error):
            raise
        syntax = ""
    if not syntax:
        raise Refused("not-dicom", "a file from the archive cannot be read as DICOM")
    raise Refused(
        "transfer-syntax", "a file from the archive is deflated, or encoded as is not taken otherwise"
    )


def text(dataset: Dataset, keyword: str) -> str:
    """A value as it stands, several with backslashes between; pydicom warns of a wrong one and quotes it."""
    element = dataset.get_item(Tag(keyword))
    value = None if element is None else element.value
    if not isinstance(value, bytes):
        return str(value) if value else ""
    if value.isascii():
        return value.decode("ascii").strip("\0 ")
    names = text(dataset, "SpecificCharacterSet").split("\\")
    return decode_bytes(value, convert_encodings(names), TEXT_VR_DELIMS).strip("\0 ")


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
