"""How the pixels of a file lie, as it describes them (PS3.3 section C.7.6.3)."""

from dataclasses import dataclass

from pydicom import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from client_app.data.dicom.limits import Limits
from client_app.data.refusal import Refused

_NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
_FLOATS = ("FloatPixelData", "DoubleFloatPixelData")


@dataclass(frozen=True)
class Layout:
    """What a file says of its pixels.

    Attributes:
        frames: how many.
        rows: of a frame.
        columns: of a frame.
        samples: of a pixel: 1 for grey.
        allocated: bits of a sample.
        stored: of these, how many are used.
        signed: whether samples are in two's complement.
        photometric: what a sample means, e.g. ``"MONOCHROME2"``.
        planar: whether the samples of one kind lie together, where a pixel has several.
        syntax: the transfer syntax.
    """

    frames: int
    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int
    signed: bool
    photometric: str
    planar: bool
    syntax: str

    @property
    def compressed(self) -> bool:
        """Whether frames have to be decompressed; also of a syntax that nobody here knows."""
        return self.syntax not in _NATIVE

    @property
    def frame_bytes(self) -> int:
        """Of one decoded frame."""
        return self.rows * self.columns * self.samples * max(1, self.allocated // 8)

    @property
    def native_bytes(self) -> int:
        """Of all frames where they are not compressed (PS3.5 section 8); bits are packed."""
        bits = self.frames * self.rows * self.columns * self.samples * self.allocated
        if self.photometric == "YBR_FULL_422":
            bits = bits * 2 // 3
        return -(-bits // 8)


def layout_of(dataset: Dataset) -> Layout | None:
    """How the pixels lie; None for a file that has none.

    Raises:
        Refused: ``bad-pixel-description``, ``no-transfer-syntax``, or ``float-pixels``.
    """
    if any(name in dataset for name in _FLOATS):
        raise Refused("float-pixels", "pixels that are stored as floating point are not taken")
    if "PixelData" not in dataset:
        return None
    if not hasattr(dataset, "file_meta") or "TransferSyntaxUID" not in dataset.file_meta:
        raise Refused("no-transfer-syntax", "the data set does not say how it is encoded (0002,0010)")
    layout = Layout(
        frames=_number(dataset, "NumberOfFrames", 1, 2**31 - 1, 1),
        rows=_number(dataset, "Rows", 1, 2**16 - 1),
        columns=_number(dataset, "Columns", 1, 2**16 - 1),
        samples=_number(dataset, "SamplesPerPixel", 1, 4, 1),
        allocated=_number(dataset, "BitsAllocated", 1, 64),
        stored=_number(dataset, "BitsStored", 1, 64),
        signed=bool(_number(dataset, "PixelRepresentation", 0, 1, 0)),
        photometric=str(dataset.get("PhotometricInterpretation") or ""),
        planar=bool(_number(dataset, "PlanarConfiguration", 0, 1, 0)),
        syntax=str(dataset.file_meta.TransferSyntaxUID),
    )
    high = _number(dataset, "HighBit", 0, 63, layout.stored - 1)
    if layout.stored > layout.allocated or layout.allocated not in (1, 8, 16, 32, 64):
        raise _wrong(f"BitsAllocated={layout.allocated} with BitsStored={layout.stored}")
    if high != layout.stored - 1:
        raise _wrong(f"HighBit={high} with BitsStored={layout.stored}; retired since 2003")
    return layout


def check_size(dataset: Dataset, limits: Limits) -> None:
    """Hold what the file says of its pixels against what it has, and against the limits.

    Raises:
        Refused: it claims more than is there (``truncated``) or allowed (``too-large``), or what it says
            cannot be (as `layout_of`).
    """
    layout = layout_of(dataset)
    if layout is None:
        return
    if layout.frames > limits.frames:
        raise Refused("too-large", f"NumberOfFrames={layout.frames}; at most {limits.frames} are read")
    size = layout.frames * layout.frame_bytes
    if size > limits.pixel_bytes:
        raise Refused(
            "too-large", f"the frames are said to be {size} bytes; at most {limits.pixel_bytes} are read"
        )
    if not layout.compressed and layout.native_bytes > len(dataset.PixelData or b""):
        raise Refused(
            "truncated", f"the frames are said to be {size} bytes, and fewer are there; fetch it again"
        )


def _number(dataset: Dataset, name: str, least: int, most: int, default: int | None = None) -> int:
    value = dataset.get(name)
    if value is None or value == "":
        value = default
    if not isinstance(value, int):
        raise Refused("wrong-vr", f"{name} is missing, or not one whole number")
    if not least <= value <= most:
        raise _wrong(f"{name}={int(value)}, which must be a number from {least} to {most}")
    return int(value)


def _wrong(what: str) -> Refused:
    return Refused("bad-pixel-description", f"the pixels cannot be as described: {what}")
