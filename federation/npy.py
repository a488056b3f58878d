"""Arrays as the bytes of ``.npy`` and ``.npz`` files, version 1.0 of numpy's format; never a pickle.

numpy reads a header as a Python expression. Before Python 3.11.8 that fails now and then where several
threads do it at once (https://github.com/python/cpython/issues/106905), as the hospitals of a simulation do,
and one of them would be missing in a round. Here a header is what one pattern says, and nothing else.
"""

import io
import math
import re
import struct
import zlib
from collections.abc import Iterable
from typing import Literal
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

_HEADER = re.compile(
    rb"\{'descr': '([<>|][biufcU]\d{1,4})', 'fortran_order': (False|True), "
    rb"'shape': \(((?:\d{1,19}, ?){0,32}(?:\d{1,19})?)\), \} *\n"
)
_START = struct.Struct("<8sH")
_MAGIC = b"\x93NUMPY\x01\x00"


def to_npy(values: NDArray[np.generic]) -> bytes:
    """The file of an array: the same bytes for the same values, whatever their layout in memory."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(values), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def from_npy(content: bytes) -> NDArray[np.generic]:
    """The array in ``content``, whole and alone.

    Raises:
        ValueError: it is no array of numbers or of texts.
    """
    if len(content) < _START.size or not content.startswith(_MAGIC):
        raise ValueError(f"{len(content)} bytes that are no .npy file of version 1.0")
    start = _START.size + _START.unpack_from(content)[1]
    header = _HEADER.fullmatch(content, _START.size, start)
    if header is None:
        raise ValueError("the header of a .npy file that says no type and shape of numbers or texts")
    try:
        dtype = np.dtype(header[1].decode())
    except TypeError as error:
        raise ValueError(f"an array of {header[1].decode()}, which numpy does not know") from error
    shape = tuple(int(length) for length in header[3].decode().split(",") if length.strip())
    if len(content) - start != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{len(content) - start} bytes that are no {dtype}{list(shape)}")
    order: Literal["F", "C"] = "F" if header[2] == b"True" else "C"
    values: NDArray[np.generic] = np.frombuffer(content, dtype, offset=start)
    return values.reshape(shape, order=order).copy()


def from_npz(content: bytes, names: Iterable[str] | None = None) -> dict[str, NDArray[np.generic]]:
    """The arrays in an archive that ``numpy.savez`` made: all, or no more than those that are named.

    Raises:
        ValueError: it is no such archive, or one of them is not in it.
    """
    try:
        with ZipFile(io.BytesIO(content)) as archive:
            chosen = [name.removesuffix(".npy") for name in archive.namelist()] if names is None else names
            return {name: from_npy(archive.read(f"{name}.npy")) for name in chosen}
    except (BadZipFile, KeyError, EOFError, OSError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise ValueError(f"{len(content)} bytes that are no .npz file as wanted ({error})") from error
