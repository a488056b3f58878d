"""Pixels without what else can lie in their bytes, and refused where there may be text in them.

Native pixels keep the bits that BitsStored counts; overlays of old machines lie in the others (PS3.3 C.9.2).
Compressed ones keep their frames and lose the comments and application segments of their codestreams.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from client_app.data.deidentify.codestreams import without_comments
from client_app.data.deidentify.quiet import quiet
from client_app.data.deidentify.rules import PIXELS
from client_app.data.deidentify.text_detector import looks_like_text
from client_app.data.dicom.decoder import shared_decoder
from client_app.data.dicom.layout import layout_of
from client_app.data.refusal import Refused

_NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
_COMPRESSED = (*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes, *JPEG2000TransferSyntaxes, RLELossless)
_LARGEST_FRAME = 1 << 28  # samples: what is decoded, or looked at, at once


def clean_pixels(dataset: FileDataset, *, wary: bool) -> None:
    """Have ``dataset`` hold pixels and nothing else in its pixel data.

    Args:
        dataset: the file's, with its file meta information; it is changed.
        wary: whether images of its kind often have text in them.

    Raises:
        Refused: by ``"no-pixels"``, ``"transfer-syntax"``, ``"too-large"``, ``"truncated"``,
            ``"pixels-unreadable"``, ``"codestream"``, ``"unused-bits"`` or ``"burned-in-text"``.
    """
    keyword = next((name for name in PIXELS if name in dataset), None)
    if keyword is None:
        raise Refused("no-pixels", "it is an image without pixels that could be read")
    syntax = dataset.file_meta.TransferSyntaxUID
    native = syntax in _NATIVE
    if not native and syntax not in _COMPRESSED:
        raise Refused(
            "transfer-syntax", f"pixels in transfer syntax {syntax.name} are not read; convert them"
        )
    with quiet("pixels-unreadable", "the pixels"):
        if int(dataset.Rows) * int(dataset.Columns) * int(dataset.get("SamplesPerPixel", 1)) > _LARGEST_FRAME:
            raise Refused(
                "too-large", f"a frame has {dataset.Rows} by {dataset.Columns} pixels; none is so large"
            )
        if native:
            dataset[keyword].value = _native(dataset, keyword, big_endian=syntax == ExplicitVRBigEndian)
        else:
            dataset[keyword].value = _compressed(dataset, syntax)
            dataset[keyword].is_undefined_length = True
        _look(dataset, compressed=not native, wary=wary)


def _native(dataset: Dataset, keyword: str, *, big_endian: bool) -> bytes:
    """As many bytes as there are pixels, and a pad; in them only the bits that are stored."""
    allocated, stored = int(dataset.BitsAllocated), int(dataset.get("BitsStored", dataset.BitsAllocated))
    content = bytes(dataset[keyword].value)
    length = _bytes_of_pixels(dataset, allocated)
    if len(content) < length:
        raise Refused("truncated", f"it holds {len(content)} bytes of pixels where {length} are declared")
    if big_endian and length % 2 and dataset[keyword].VR == "OW":
        raise Refused(
            "transfer-syntax", "its bytes are swapped in pairs, and are odd; convert it to little endian"
        )
    content = content[:length]
    if stored < allocated and keyword == "PixelData" and allocated in (8, 16, 32):
        order = ">" if big_endian else "<"
        values = np.frombuffer(content, f"{order}u{allocated // 8}")
        low = int(dataset.HighBit) + 1 - stored
        content = _stored_bits(values, low, stored, signed=bool(dataset.PixelRepresentation)).tobytes()
    elif allocated not in (1, 8, 16, 32, 64):
        raise Refused("pixels-unreadable", f"BitsAllocated={allocated} is none of 1, 8, 16, 32, 64")
    return content + bytes(len(content) % 2)


def _bytes_of_pixels(dataset: Dataset, allocated: int) -> int:
    samples = int(dataset.get("SamplesPerPixel", 1))
    pixels = int(dataset.Rows) * int(dataset.Columns) * int(dataset.get("NumberOfFrames") or 1)
    if dataset.PhotometricInterpretation == "YBR_FULL_422":
        return pixels * 2 * allocated // 8
    return (pixels * samples * allocated + 7) // 8


def _stored_bits(
    values: NDArray[np.unsignedinteger], low: int, stored: int, *, signed: bool
) -> NDArray[np.unsignedinteger]:
    """``values`` with the bits outside of ``[low, low + stored)`` as if nothing had been put there."""
    kind = values.dtype.type
    bits = (values >> kind(low)) & kind((1 << stored) - 1)
    if signed:  # the sign goes on to the left
        sign = kind(1 << (stored - 1))
        bits = (bits ^ sign) - sign
    cleared: NDArray[np.unsignedinteger] = (bits << kind(low)).astype(values.dtype)
    return cleared


def _compressed(dataset: Dataset, syntax: UID) -> bytes:
    """The same frames, packed anew: what lay in the offset table or behind the last frame is gone."""
    number = int(dataset.get("NumberOfFrames") or 1)
    frames = list(generate_frames(bytes(dataset.PixelData), number_of_frames=number))
    if len(frames) != number:
        raise Refused("truncated", f"it holds {len(frames)} frames where {number} are declared")
    if syntax != RLELossless:
        frames = [without_comments(frame) for frame in frames]
    return encapsulate(frames, has_bot=False)


def _look(dataset: Dataset, *, compressed: bool, wary: bool) -> None:
    """Look at every frame as a reader would."""
    for frame in (
        _decoded(dataset) if compressed else iter_pixels(dataset, raw=True, correct_unused_bits=False)
    ):
        if compressed:
            _look_at_unused(frame, dataset)
        if looks_like_text(frame, wary=wary):
            raise Refused(
                "burned-in-text", "something in its pixels looks like a row of letters; look at it, clean it"
            )


def _decoded(dataset: Dataset) -> Iterator[NDArray[np.generic]]:
    """Compressed frames, one by one, by a process that may grow or crash."""
    layout = layout_of(dataset)
    if layout is None:
        raise Refused("no-pixels", "it is an image without pixels that could be read")
    for content in generate_frames(dataset.PixelData, number_of_frames=layout.frames):
        yield shared_decoder().frame(layout, content)


def _look_at_unused(frame: NDArray[np.generic], dataset: Dataset) -> None:
    """Bits that are not stored are nowhere shown; codecs that keep them keep an overlay in them."""
    allocated, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
    if stored == allocated or frame.dtype.kind not in "iu":
        return
    signed = frame.dtype.kind == "i"
    lowest, highest = (-(1 << (stored - 1)), (1 << (stored - 1)) - 1) if signed else (0, (1 << stored) - 1)
    if int(dataset.HighBit) != stored - 1 or frame.min() < lowest or frame.max() > highest:
        raise Refused("unused-bits", "its compressed pixels use bits that BitsStored does not count")
