"""Walk a DICOM file's structure before pydicom makes objects of it (PS3.5 section 7, PS3.10 section 7.1).

Only tags and lengths are read, so that time grows with the elements that are there, and memory not at all.
What passes is no larger, deeper or of more parts than allowed, wherever pydicom would read sequences, and
every length lies within what holds it.
"""

import re
from collections.abc import Mapping
from struct import Struct
from typing import NamedTuple, NoReturn

from pydicom.datadict import dictionary_VR
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, STANDARD_VR

from client_app.data.dicom.limits import Limits
from client_app.data.refusal import Refused

PREAMBLE = 132
UID_SHAPE = re.compile(r"(?=.{3,64}\Z)[0-9]+(\.[0-9]+)+")
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_TRANSFER_SYNTAX = 0x00020010
_PIXELS = {0x7FE00008, 0x7FE00009, 0x7FE00010}
_BYTES = frozenset(["OB", "OD", "OF", "OL", "OV", "OW"])
_NAMES: Mapping[bytes, str] = {name.encode(): name for name in STANDARD_VR}


def transfer_syntax(data: bytes, limits: Limits) -> tuple[str, int]:
    """The transfer syntax that a file declares, and where its data set begins.

    Raises:
        Refused: it is no DICOM file, is cut off, or does not declare any.
    """
    if not data:
        raise Refused("empty-file", "the file has no bytes; fetch it again")
    if data[128:PREAMBLE] != b"DICM":
        raise Refused(
            "not-dicom", "the file has no DICOM preamble (PS3.10); only whole DICOM files are taken"
        )
    walk = _Walk(data, limits, big=False)
    at, syntax = PREAMBLE, ""
    while data[at : at + 2] == b"\2\0":
        element = walk.header(at, len(data), implicit=False)
        walk.count(1, element.length)
        at = walk.within(element.start, element.length, len(data))
        if element.tag == _TRANSFER_SYNTAX:
            syntax = data[element.start : at].decode("ascii", "replace").strip("\0 ")
    if not syntax:
        raise Refused("no-transfer-syntax", "the file does not say how it is encoded (0002,0010)")
    if not UID_SHAPE.fullmatch(syntax):
        raise Refused("bad-uid", "TransferSyntaxUID is no UID: at most 64 digits and dots")
    return syntax, at


def check_structure(data: bytes, start: int, syntax: str, limits: Limits) -> None:
    """Walk the data set that begins at ``start``; one that was deflated has to be inflated first.

    Raises:
        Refused: its structure is not whole (``truncated``, ``bad-structure``, ``wrong-vr``), or larger than
            the limits (``too-many-parts``, ``too-deep``, ``too-large``).
    """
    implicit, big = syntax == ImplicitVRLittleEndian, syntax == ExplicitVRBigEndian
    _Walk(data, limits, big=big).elements(start, len(data), depth=0, implicit=implicit)


class _Element(NamedTuple):
    """A tag, its VR ("" if nobody knows), where its value starts and how long it is said to be."""

    tag: int
    name: str
    start: int
    length: int


class _Walk:
    """One walk, and what it has counted."""

    def __init__(self, data: bytes, limits: Limits, *, big: bool) -> None:
        self._data, self._limits = data, limits
        self._parts, self._metadata = 0, 0
        order = ">" if big else "<"
        self._tag = Struct(f"{order}HH").unpack_from
        self._short = Struct(f"{order}H").unpack_from
        self._long = Struct(f"{order}L").unpack_from

    def header(self, at: int, end: int, *, implicit: bool) -> _Element:
        """The element at ``at``."""
        if at + 8 > end:
            raise _truncated()
        group, element = self._tag(self._data, at)
        tag = group << 16 | element
        if implicit or group == 0xFFFE:
            name = "" if group == 0xFFFE else known_vr(tag)
            return _Element(tag, name, at + 8, self._long(self._data, at + 4)[0])
        name = _NAMES.get(self._data[at + 4 : at + 6], "")
        if not name:
            raise Refused(
                "wrong-vr", f"element ({group:04X},{element:04X}) has no value representation of DICOM"
            )
        if name not in EXPLICIT_VR_LENGTH_32:
            return _Element(tag, name, at + 8, self._short(self._data, at + 6)[0])
        if at + 12 > end:
            raise _truncated()
        return _Element(tag, name, at + 12, self._long(self._data, at + 8)[0])

    def elements(self, at: int, end: int, *, depth: int, implicit: bool, item: bool = False) -> int:
        """Walk elements up to ``end``, or to the delimiter of an item of undefined length; where they end."""
        if depth > self._limits.depth:
            raise Refused("too-deep", f"sequences are nested more than {self._limits.depth} deep")
        # pydicom goes by the first element whether an item is explicit, and so must we.
        letters = all(0x40 < letter < 0x5B for letter in self._data[at + 4 : at + 6])
        if implicit and depth == 0 and letters and at < end:
            raise Refused(
                "wrong-vr", "the file says that value representations are implicit, and they are not"
            )
        if depth > 0 and not letters:
            implicit = True
        while at < end:
            element = self.header(at, end, implicit=implicit)
            if element.tag == _ITEM_END and item:
                return element.start
            if element.tag >> 16 == 0xFFFE:
                _broken("a delimiter stands where a data element should")
            at = self._value(element, end, depth=depth, implicit=implicit)
        if item:
            raise _truncated()
        return at

    def within(self, start: int, length: int, end: int) -> int:
        """Where a value ends."""
        if length == _UNDEFINED:
            _broken("an element that cannot have an undefined length has one")
        if start + length > end:
            raise _truncated()
        return start + length

    def count(self, parts: int, metadata: int) -> None:
        """Add to what was counted."""
        self._parts += parts
        self._metadata += metadata
        if self._parts > self._limits.parts:
            raise Refused(
                "too-many-parts", f"the file has more than {self._limits.parts} elements and values"
            )
        if self._metadata > self._limits.metadata_bytes:
            raise Refused(
                "too-large", f"the file has more than {self._limits.metadata_bytes} bytes beside its pixels"
            )

    def _value(self, element: _Element, end: int, *, depth: int, implicit: bool) -> int:
        """Walk the value of an element; where it ends."""
        tag, name, start, length = element
        self.count(1, 0)
        # Where a dictionary knows something unknown as a sequence, pydicom will read it as one, and what is
        # unknown and has no length is one by PS3.5 section 6.2.2.
        items = name == "SQ" or (name in ("", "UN") and self._begins_with_item(start))
        if length == _UNDEFINED:
            if not items:
                return self._fragments(start, end)
            return self._sequence(start, end, depth=depth, implicit=implicit, delimited=True)
        stop = self.within(start, length, end)
        if tag in _PIXELS and depth == 0:
            return stop
        self.count(0, length)
        if items:
            self._sequence(start, stop, depth=depth, implicit=implicit, delimited=False)
        elif name not in _BYTES:
            self.count(self._data.count(b"\\", start, stop), 0)
        return stop

    def _begins_with_item(self, start: int) -> bool:
        return start + 4 <= len(self._data) and self._tag(self._data, start) == (0xFFFE, 0xE000)

    def _sequence(self, at: int, end: int, *, depth: int, implicit: bool, delimited: bool) -> int:
        """Walk items; where they end."""
        while at < end:
            tag, _, start, length = self.header(at, end, implicit=True)
            if tag == _SEQUENCE_END and delimited:
                return start
            if tag != _ITEM:
                _broken("something other than an item stands in a sequence")
            self.count(1, 0)
            if length == _UNDEFINED:
                at = self.elements(start, end, depth=depth + 1, implicit=implicit, item=True)
            else:
                at = self.within(start, length, end)
                self.elements(start, at, depth=depth + 1, implicit=implicit)
        if delimited:
            raise _truncated()
        return at

    def _fragments(self, at: int, end: int) -> int:
        """Walk the fragments of encapsulated pixels (PS3.5 annex A.4); where they end."""
        while True:
            tag, _, start, length = self.header(at, end, implicit=True)
            if tag == _SEQUENCE_END:
                return start
            if tag != _ITEM:
                _broken("something other than a fragment stands among the encapsulated pixels")
            self.count(1, 0)
            at = self.within(start, length, end)


def known_vr(tag: int) -> str:
    """The VR that the dictionary has for a tag; "" for private and unknown ones, and where it depends."""
    try:
        name = dictionary_VR(tag)
    except KeyError:
        return ""
    return name if len(name) == 2 else "OW"


def _broken(what: str) -> NoReturn:
    raise Refused("bad-structure", f"{what}; the file was damaged or written wrongly")


def _truncated() -> Refused:
    return Refused(
        "truncated", "the file ends within an element, or a part of it within that; fetch it again"
    )
