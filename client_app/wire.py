"""Records as bytes, for the socket between the relay and the custodian.

A body is one record and nothing else:

    4 bytes         the length of the header, big-endian, a multiple of 4
    the header      JSON ``{"kind": ..., "json": ...}`` in UTF-8, filled up with spaces
    the rest        its array, as the kind of record has it, little-endian; empty where it has none

So nothing of a stranger's is ever unpickled, and no header says how long or of which type the array is.
"""

import json
from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from federation.errors import MessageError
from federation.messages import FlatArray, Record, Request, array_of, fields_of, kind_named, record_of

# A study is a few KiB of JSON.
MOST_HEADER = 256 * 1024
_LENGTH, _NUMBER = 4, 4  # bytes


def operation_of(kind: type[Record]) -> str:
    """The last part of the path that requests of this kind go to, e.g. ``"train"``."""
    return kind.__name__.removesuffix("Request").lower()


# All that a relay may ask for.
OPERATIONS: Mapping[str, type[Request]] = {operation_of(kind): kind for kind in get_args(Request)}


def to_bytes(record: Record) -> bytes:
    """``record`` as a body."""
    header = json.dumps({"kind": type(record).__name__, "json": fields_of(record)}).encode()
    # Filled up, so that the numbers behind it lie where a processor can read them in place.
    header += b" " * (-len(header) % _NUMBER)
    parts: list[bytes | memoryview] = [len(header).to_bytes(_LENGTH, "big"), header]
    array = array_of(record)
    if array is not None:
        little_endian = array.astype(array.dtype.newbyteorder("<"), copy=False)
        parts.append(little_endian.view(np.uint8).data)
    return b"".join(parts)


def from_bytes(body: bytes | bytearray) -> Record:
    """The record that is ``body``.

    The numbers of a ``bytearray`` are those in it, not a copy: whoever hands it over must let it be.

    Raises:
        MessageError: it is not one record, whole and alone.
    """
    start = _LENGTH + int.from_bytes(body[:_LENGTH], "big")
    if start > min(len(body), _LENGTH + MOST_HEADER) or start % _NUMBER:
        raise MessageError(f"a body of {len(body)} bytes with a header up to byte {start}")
    kind, fields = _header(bytes(body[_LENGTH:start]))
    if kind.array is not None:
        return record_of(kind, fields, _array(body, start, kind.array))
    if len(body) > start:
        raise MessageError(f"{len(body) - start} bytes behind a {kind.__name__}, which has no array")
    return record_of(kind, fields, None)


def _header(text: bytes) -> tuple[type[Record], str]:
    try:
        header = json.loads(text, object_pairs_hook=tuple)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"a header of {len(text)} bytes that is no JSON: {error}") from error
    match header:
        case tuple((("kind", str(kind)), ("json", str(fields)))):
            return kind_named(kind), fields
    raise MessageError(f"a header of {len(text)} bytes that is no kind and JSON, in that order")


def _array(body: bytes | bytearray, start: int, kind: FlatArray) -> NDArray[Any]:
    if (len(body) - start) % _NUMBER:
        raise MessageError(f"{len(body) - start} bytes of {kind.name}; each takes {_NUMBER}")
    little_endian = np.dtype(kind.dtype).newbyteorder("<")
    numbers = np.frombuffer(body, dtype=little_endian, offset=start).astype(kind.dtype, copy=False)
    return numbers if numbers.flags.writeable else numbers.copy()
