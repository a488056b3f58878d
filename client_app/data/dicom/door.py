"""The one way by which a DICOM file comes in: bounded time and memory, whatever its bytes.

The structure is walked first (`structure`), so that pydicom is given only what it can make objects of within
the limits. Every value is converted here, since pydicom converts late, and what it cannot convert it would
quote in a warning elsewhere. Pixels are not decoded.
"""

import logging
import os
import stat
import warnings
import zlib
from io import BytesIO
from pathlib import Path

from pydicom import DataElement, Dataset, dcmread
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from client_app.data.dicom.layout import check_size
from client_app.data.dicom.limits import Limits
from client_app.data.dicom.structure import UID_SHAPE, check_structure, known_vr, transfer_syntax
from client_app.data.refusal import Refused, enough_memory

# It quotes values, and values name patients.
logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)

_IDENTIFIERS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


def read_instance(path: Path, limits: Limits = Limits()) -> Dataset:  # noqa: B008  (frozen)
    """A DICOM file, every value of it converted; a deflated one is inflated.

    Takes memory of about four times the file, and 0.5 kB for each of its parts. Python's warnings are turned
    off while it lasts: for one thread at a time.

    Raises:
        Refused: it is none, is damaged, or asks for more than the limits; the rule says which.
    """
    with enough_memory():
        data = _inflated(_content(path, limits), limits)
        syntax, start = transfer_syntax(data, limits)
        check_structure(data, start, syntax, limits)
        dataset = _parsed(data)
    _check_identifiers(dataset)
    check_size(dataset, limits)
    return dataset


def _content(path: Path, limits: Limits) -> bytes:
    """The bytes of a file that is one: pipes and devices have no end."""
    try:
        # Opening a pipe would wait for whoever writes into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise Refused("not-a-file", "it is a folder, a pipe or a device, and no file")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                content = file.read(min(status.st_size, limits.file_bytes) + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Refused(
            "unreadable", f"the file cannot be read ({error.strerror}); mend disk or rights", passing=True
        ) from None
    if len(content) > limits.file_bytes:
        raise Refused("too-large", f"the file has more than {limits.file_bytes} bytes")
    return content


def _inflated(data: bytes, limits: Limits) -> bytes:
    """The same file with its data set inflated (PS3.5 section A.5), never beyond the limit."""
    syntax, start = transfer_syntax(data, limits)
    if syntax != DeflatedExplicitVRLittleEndian:
        return data
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = inflate.decompress(data[start:], limits.inflated_bytes)
    except zlib.error:
        raise Refused(
            "bad-structure", "the deflated data set cannot be inflated; fetch the file again"
        ) from None
    if inflate.unconsumed_tail:
        raise Refused("too-large", f"the data set has more than {limits.inflated_bytes} bytes inflated")
    if not inflate.eof:
        raise Refused("truncated", "the deflated data set ends before its end; fetch the file again")
    deflated = DeflatedExplicitVRLittleEndian.encode()
    plain = ExplicitVRLittleEndian.encode().ljust(len(deflated), b"\0")
    return data[:start].replace(deflated, plain) + content


def _parsed(data: bytes) -> Dataset:
    """What pydicom makes of it, quietly; its messages quote values."""
    tag = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = dcmread(BytesIO(data))
            dataset.buffer = None  # or it would keep the whole file in memory
            ahead: list[Dataset] = [dataset.file_meta, dataset]
            while ahead:
                within = ahead.pop()
                for tag in list(within.keys()):
                    element = _converted(within, tag)
                    if element.VR == "SQ":
                        ahead.extend(element.value)
        except MemoryError:
            raise
        except Exception as error:
            where = f"element {tag}" if tag is not None else "the file"
            raise Refused(
                "wrong-vr", f"{where} cannot be what it says it is ({type(error).__name__})"
            ) from None
    return dataset


def _converted(dataset: Dataset, tag: BaseTag) -> DataElement:
    """An element with its value; numbers that are none pydicom leaves as text, or as unknown bytes."""
    said = dataset.get_item(tag).VR or known_vr(tag)
    element = dataset[tag]
    if element.VR == "UN" and said not in ("", "UN"):
        raise TypeError(said)
    if element.VR in ("IS", "DS"):
        values = element.value if element.VM > 1 else [element.value]
        if any(isinstance(value, str) and value for value in values):
            raise TypeError(said)
    return element


def _check_identifiers(dataset: Dataset) -> None:
    """Every instance has its four UIDs, and they are UIDs: others name files by them."""
    for name in _IDENTIFIERS:
        value = dataset.get(name)
        if not value:
            raise Refused("no-identifiers", f"the file has no {name}, so it is no instance of a series")
        if not isinstance(value, str) or not UID_SHAPE.fullmatch(value):
            raise Refused("bad-uid", f"{name} is no UID: at most 64 digits and dots")
