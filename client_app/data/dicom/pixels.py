"""Frames as what was measured: HU for CT (PS3.3 sections C.7.6.3, C.11.1 and C.7.6.16)."""

import struct
import warnings
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, RLELossless

from client_app.data.dicom.decoder import shared_decoder
from client_app.data.dicom.groups import functional_group
from client_app.data.dicom.layout import Layout, layout_of
from client_app.data.refusal import Refused

# Where a number is a quantity, how bright it is shown says nothing about it.
_QUANTITIES = frozenset(["CT", "MR", "PT", "NM"])


def frames(dataset: Dataset) -> NDArray[np.float32]:
    """All frames, float32 ``[frames, rows, columns]``, in what the modality measures.

    Rescaled by slope and intercept of the file or of each frame. Where MONOCHROME1 shows large numbers of a
    projection dark, larger is brighter afterwards. What is marked as padding has the least other value.

    Raises:
        Refused: it has none, or they cannot be had (``no-pixels``, ``colour``, ``bits``, ``not-decodable``,
            ``decoder-died``, ``decoder-hung``, ``truncated``), or do not say what they mean
            (``modality-lut``, ``no-rescale``, ``bad-rescale``, ``not-hu``, ``all-padding``).
    """
    layout = _grey(dataset)
    values = np.empty((layout.frames, layout.rows, layout.columns), dtype=np.float32)
    padding = np.zeros(values.shape, dtype=np.bool_)
    for number, stored in enumerate(_stored_frames(dataset, layout)):
        padding[number] = _padding(dataset, stored)
        slope, intercept = _rescale(dataset, number)
        values[number] = _brighter(dataset, layout, stored).astype(np.float64) * slope + intercept
    if padding.all():
        raise Refused("all-padding", "every pixel is marked as padding")
    if padding.any():
        values[padding] = values[~padding].min()
    return values


def _grey(dataset: Dataset) -> Layout:
    layout = layout_of(dataset)
    if layout is None:
        raise Refused("no-pixels", "the file has no pixels")
    if layout.samples != 1 or layout.photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise Refused(
            "colour",
            f"pixels are {layout.samples} samples of {layout.photometric[:16]!r}; only grey ones are taken",
        )
    if layout.allocated not in (8, 16, 32):
        raise Refused("bits", f"BitsAllocated={layout.allocated}; 8, 16 and 32 are read")
    return layout


def _stored_frames(dataset: Dataset, layout: Layout) -> Iterator[NDArray[np.generic]]:
    """The frames as they are stored, each ``[rows, columns]``, as many as there are said to be."""
    if not layout.compressed:
        for frame in _native(dataset, layout):
            yield _only_stored(layout, frame)
        return
    for content in _encapsulated(dataset, layout):
        frame = shared_decoder().frame(layout, content)
        yield _only_stored(layout, frame) if layout.syntax == RLELossless else _in_range(layout, frame)


def _native(dataset: Dataset, layout: Layout) -> NDArray[np.generic]:
    """The frames of a file that is not compressed, ``[frames, rows, columns]``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            array, _ = get_decoder(UID(layout.syntax)).as_array(dataset, raw=True)
        except (ValueError, AttributeError, NotImplementedError, TypeError):
            raise Refused(
                "truncated", "the pixels are not as many as the file says; fetch it again"
            ) from None
    shape = layout.frames, layout.rows, layout.columns
    if array.size != np.prod(shape):  # pydicom reads frames that nobody spoke of
        raise Refused("bad-pixel-description", f"there are more frames than NumberOfFrames={layout.frames}")
    return array.reshape(shape)


def _encapsulated(dataset: Dataset, layout: Layout) -> list[bytes]:
    """The compressed frames (PS3.5 section A.4)."""
    offsets = None
    if "ExtendedOffsetTable" in dataset and "ExtendedOffsetTableLengths" in dataset:
        offsets = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            contents = list(
                generate_frames(dataset.PixelData, number_of_frames=layout.frames, extended_offsets=offsets)
            )
        except (ValueError, EOFError, AttributeError, struct.error):
            raise Refused("truncated", "the compressed frames are not whole; fetch it again") from None
    if len(contents) != layout.frames:
        raise Refused(
            "truncated", f"{layout.frames} frames are said to be there, {len(contents)} are; fetch it again"
        )
    return contents


def _only_stored(layout: Layout, stored: NDArray[np.generic]) -> NDArray[np.generic]:
    """Without the bits above those that are stored, where old files have overlays."""
    unused = stored.dtype.itemsize * 8 - layout.stored
    # To the left and back: in signed numbers that brings the sign with it.
    return (stored << unused) >> unused if unused else stored  # type: ignore[operator]


def _in_range(layout: Layout, stored: NDArray[np.generic]) -> NDArray[np.generic]:
    """What a decoder gave, unless it gave numbers that so many bits cannot hold."""
    least, most = _range(layout)
    if stored.min() < least or stored.max() > most:
        raise Refused(
            "bits", f"decoded pixels do not fit into BitsStored={layout.stored}, as the file has it"
        )
    return stored


def _range(layout: Layout) -> tuple[int, int]:
    if layout.signed:
        return -(1 << (layout.stored - 1)), (1 << (layout.stored - 1)) - 1
    return 0, (1 << layout.stored) - 1


def _brighter(dataset: Dataset, layout: Layout, stored: NDArray[np.generic]) -> NDArray[np.generic]:
    """Larger is brighter: values of a projection in MONOCHROME1 are turned round within their range."""
    if layout.photometric != "MONOCHROME1" or dataset.get("Modality") in _QUANTITIES:
        return stored
    least, most = _range(layout)
    turned: NDArray[np.int64] = least + most - stored.astype(np.int64)
    return turned


def _padding(dataset: Dataset, stored: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Where a frame is padding (PS3.3 section C.7.5.1.1.2), ``[rows, columns]``."""
    first = dataset.get("PixelPaddingValue")
    if not isinstance(first, int):
        return np.zeros(stored.shape, dtype=np.bool_)
    other = dataset.get("PixelPaddingRangeLimit")
    least, most = sorted((first, other if isinstance(other, int) else first))
    return np.asarray((stored >= least) & (stored <= most))  # type: ignore[operator]


def _rescale(dataset: Dataset, frame: int) -> tuple[float, float]:
    """Slope and intercept of a frame, of its own or the file's."""
    if dataset.get("ModalityLUTSequence"):
        raise Refused("modality-lut", "values are given by a table (ModalityLUTSequence), which is not read")
    source = functional_group(dataset, frame, "PixelValueTransformationSequence") or dataset
    slope, intercept = source.get("RescaleSlope"), source.get("RescaleIntercept")
    is_ct = dataset.get("Modality") == "CT"
    if slope is None and intercept is None and not is_ct:
        return 1.0, 0.0
    if slope is None or intercept is None:
        raise Refused(
            "no-rescale", "RescaleSlope and RescaleIntercept are not both there, so values mean nothing"
        )
    try:
        factors = float(slope), float(intercept)
    except (TypeError, ValueError):
        raise Refused("bad-rescale", "RescaleSlope or RescaleIntercept is not one number") from None
    if factors[0] == 0 or not np.isfinite(factors).all() or max(map(abs, factors)) > 1e9:
        raise Refused("bad-rescale", f"values cannot be rescaled by {factors[0]:g} and {factors[1]:g}")
    kind = source.get("RescaleType")
    if is_ct and kind not in (None, "", "HU"):
        raise Refused("not-hu", "the values of a CT are not in HU (RescaleType)")
    return factors
