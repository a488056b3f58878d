"""NIfTI-1 and -2 in one file, plain or gzipped; never more is unpacked than the header says that there is."""

import gzip
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from nibabel.imageglobals import logger
from nibabel.nifti1 import Nifti1Header
from numpy.typing import NDArray

from client_app.data.refusal import Refused, is_of_the_machine
from federation.site_store import Directions

logger.disabled = True  # it tells what it mends in a stranger's header

_FORMATS = (nibabel.Nifti1Image, nibabel.Nifti2Image)
_GZIP = b"\x1f\x8b"
_LONGEST_HEADER = 540  # bytes, of NIfTI-2
_MOST_BETWEEN = 1 << 24  # bytes between header and voxels: what programs write there is a few thousand
_MOST_VOXELS = 1 << 28
_MM = {"unknown": 1.0, "mm": 1.0, "meter": 1e3, "micron": 1e-3}


@dataclass(frozen=True, repr=False)
class Scan:
    """A volume as its file has it.

    Attributes:
        values: ``[i, j, k]``, with the header's slope and intercept.
        affine: from (i, j, k, 1) to mm right, front, up, ``[4, 4]``.
    """

    values: NDArray[np.float32]
    affine: NDArray[np.float64]


def read_scan(path: Path) -> Scan:
    """The volume in a file.

    Raises:
        Refused: it is no whole NIfTI (``not-an-image``), not one volume of numbers (``not-a-volume``), larger
            than is taken or than its header says (``too-large``), or does not say where it lies
            (``no-geometry``).
    """
    try:
        kind, content = _unpacked(path)
        image = kind.from_bytes(content)
        header = image.header
        if not (header["sform_code"] > 0 or header["qform_code"] > 0):
            raise Refused("no-geometry", "the file does not say where its voxels lie in the patient")
        with np.errstate(all="ignore"):  # what is too large for 32 bits is infinite, and refused
            values = np.asarray(image.dataobj, dtype=np.float32).reshape(image.shape[:3])
            affine = np.diag([*[_MM[header.get_xyzt_units()[0]]] * 3, 1.0]) @ image.affine
        return Scan(values, affine)
    except Refused:
        raise
    except Exception as error:  # whatever nibabel raises for a stranger's bytes
        reason, passing = type(error).__name__, is_of_the_machine(error)
    if passing:
        raise Refused("unreadable", f"the NIfTI cannot be read now ({reason})", passing=True)
    raise Refused("not-an-image", f"the file is no whole NIfTI ({reason})")


def _unpacked(path: Path) -> tuple[type[nibabel.Nifti1Image], bytes]:
    """The file, unpacked as far as its header says, and what reads it."""
    with path.open("rb") as file:
        packed = file.read(len(_GZIP)) == _GZIP
    with gzip.open(path) if packed else path.open("rb") as file:
        start = file.read(_LONGEST_HEADER)
        kind = next((each for each in _FORMATS if each.header_class.may_contain_header(start)), None)
        if kind is None:
            raise Refused("not-an-image", "the file is no NIfTI in one file")
        size = _declared(kind.header_class(start[: kind.header_class.sizeof_hdr], check=False))
        content = start + file.read(max(0, size + 1 - len(start)))
    if len(content) > size:
        raise Refused("too-large", f"the file holds more than the {size} bytes that its header speaks of")
    return kind, content


def _declared(header: Nifti1Header) -> int:
    """How many bytes the file has, unpacked, as its header says."""
    shape, kind = header.get_data_shape(), header.get_data_dtype()
    if len(shape) < 3 or any(length != 1 for length in shape[3:]) or min(shape) < 1 or kind.kind not in "iuf":
        raise Refused("not-a-volume", "the file is not one volume of whole or real numbers")
    voxels = 1
    for length in shape:
        voxels *= length
    between = header.get_data_offset()
    if voxels > _MOST_VOXELS or not 0 <= between <= _MOST_BETWEEN:
        raise Refused("too-large", f"the file is said to have more than {_MOST_VOXELS} voxels, or much else")
    return int(between + voxels * kind.itemsize)


def placed(scan: Scan) -> tuple[NDArray[np.float32], tuple[float, float, float], Directions]:
    """Slices from the feet up, rows from front to back, columns from right to left; mm; which way each goes.

    Raises:
        Refused: its axes are none (``bad-geometry``).
    """
    with np.errstate(over="ignore"):
        lengths = np.linalg.norm(scan.affine[:3, :3], axis=0)
    if not all(1e-4 < length < 1e3 for length in lengths):
        raise Refused("bad-geometry", "the file says that its voxels are of a size that cannot be")
    turn = nibabel.io_orientation(scan.affine)
    if np.isnan(turn).any():
        raise Refused("bad-geometry", "two axes of the file point the same way")
    values = nibabel.apply_orientation(scan.values, turn)[::-1, ::-1].transpose(2, 1, 0)
    axes = (scan.affine @ nibabel.orientations.inv_ornt_aff(turn, scan.values.shape))[:3, :3]
    lengths = np.linalg.norm(axes, axis=0)
    # Right, front, up become left, back, up; and the first two axes were reversed.
    axes = axes / lengths * [[-1], [-1], [1]] * [-1, -1, 1]
    if not np.allclose(axes.T @ axes, np.eye(3), atol=1e-3):
        raise Refused("bad-geometry", "the axes of the file are not at right angles (gantry tilt)")
    across, down, between = lengths.tolist()
    columns, rows, slices = (_vector(axis) for axis in axes.T)
    return np.ascontiguousarray(values), (between, down, across), (slices, rows, columns)


def _vector(axis: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = (axis.round(9) + 0.0).tolist()  # no -0, which would be another text in the manifest
    return x, y, z
