"""Files that ask for more than they are: small, quickly made, and ruinous to whoever believes them."""

import struct
import zlib

from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from tests.client_app.data.dicom.conftest import as_bytes, ct_slice


def element(group, number, name, value, length=None):
    """An explicit little-endian element, of a length that need not be true."""
    size = len(value) if length is None else length
    head = struct.pack("<HH2s", group, number, name.encode())
    if name in ("OB", "OW", "SQ", "UC", "UN"):
        return head + struct.pack("<HL", 0, size) + value
    return head + struct.pack("<H", size) + value


def item(content=b"", length=None):
    return struct.pack("<HHL", 0xFFFE, 0xE000, len(content) if length is None else length) + content


ITEM_END, SEQUENCE_END = struct.pack("<HHL", 0xFFFE, 0xE00D, 0), struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
UNDEFINED = 0xFFFFFFFF


def file_of(content, syntax=ExplicitVRLittleEndian):
    """A whole file of these elements, after those of a true one that come before them."""
    padded = syntax.encode() + b"\0" * (len(syntax) % 2)
    meta = element(2, 0x10, "UI", padded)
    return bytes(128) + b"DICM" + element(2, 0, "UL", struct.pack("<L", len(meta))) + meta + content


def deflated_bomb(megabytes):
    """``megabytes`` of zeros, in a thousandth of that."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    head = deflate.compress(element(9, 0x1010, "OB", b"", length=megabytes << 20))
    head += deflate.flush(zlib.Z_FULL_FLUSH)
    # What follows a full flush depends on nothing before it, and so can be repeated.
    zeros = deflate.compress(bytes(1 << 20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    return file_of(head + zeros * megabytes + deflate.flush(), DeflatedExplicitVRLittleEndian)


def long_value():
    """An element of 4 GB in a file of some hundred bytes."""
    return file_of(element(0x7FE0, 0x10, "OW", b"\0" * 64, length=0xFFFFFFF0))


def huge_frames():
    """Frames of 8 TB, and no pixels for them."""
    return as_bytes(ct_slice(0, Rows=65535, Columns=65535, NumberOfFrames=1000))


def items(count):
    """A sequence of nothing, ``count`` times: eight bytes each, and an object of pydicom's."""
    return file_of(element(8, 0x1140, "SQ", item() * count + SEQUENCE_END, length=UNDEFINED))


def elements(count):
    """Elements of nothing; their tags differ, so that none replaces another."""
    packed = b"".join(
        struct.pack("<HHL", 0x0011 + 2 * (number >> 16), number & 0xFFFF, 0) for number in range(count)
    )
    return file_of(packed, ImplicitVRLittleEndian)


def values(count):
    """One text of ``count`` numbers."""
    return file_of(element(8, 0x0119, "UC", b"1\\" * count))


def nested(depth, *, delimited):
    """Sequences in sequences."""
    content = b""
    for _ in range(depth):
        inner = (
            item(content + ITEM_END * delimited, UNDEFINED if delimited else None) + SEQUENCE_END * delimited
        )
        content = element(8, 0x1140, "SQ", inner, UNDEFINED if delimited else None)
    return file_of(content)


def hidden_nesting(depth):
    """The same where the file says that it does not know what it is."""
    content = b""
    for _ in range(depth):
        content = element(8, 0x1140, "UN", item(content))
    return file_of(content)
