"""Take a multipart body apart as it comes (RFC 2046, section 5.1), with little of it in memory."""

from collections.abc import Iterator
from email.message import Message

from client_app.data.pacs.dropped import DroppedError

_LONGEST_BOUNDARY = 70  # by the RFC
_LONGEST_HEAD = 1 << 16  # bytes of a part's header, or of what stands before the first


def boundary_of(content_type: str) -> bytes:
    """The boundary of a body; empty where it is not in parts.

    Raises:
        DroppedError: it is in parts, and has no boundary that could be.
    """
    message = Message()
    message["Content-Type"] = content_type
    if message.get_content_maintype() != "multipart":
        return b""
    boundary = message.get_boundary("").encode("ascii", errors="replace")
    if not 1 <= len(boundary) <= _LONGEST_BOUNDARY:
        raise DroppedError("its answer has no boundary between its parts")
    return boundary


def parts(chunks: Iterator[bytes], boundary: bytes) -> Iterator[Iterator[bytes]]:
    """The contents of the parts, one after the other; each is to be read to its end before the next.

    Raises:
        DroppedError: the body ends before its last boundary, which alone tells a whole one from one cut off.
    """
    stream = _Stream(chunks)
    delimiter = b"\r\n--" + boundary
    stream.skip_past(delimiter)
    while stream.peek(2) != b"--":
        stream.skip_past(b"\r\n\r\n")
        yield stream.until(delimiter)


class _Stream:
    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._held = b"\r\n"  # the first boundary may stand at the very beginning

    def until(self, mark: bytes) -> Iterator[bytes]:
        """All that stands before the mark, which is passed over."""
        while (place := self._held.find(mark)) < 0:
            if ready := self._held[: 1 - len(mark)]:
                self._held = self._held[len(ready) :]
                yield ready
            self._more()
        before, self._held = self._held[:place], self._held[place + len(mark) :]
        yield before

    def skip_past(self, mark: bytes) -> None:
        skipped = 0
        for piece in self.until(mark):
            skipped += len(piece)
            if skipped > _LONGEST_HEAD:
                raise DroppedError("a part of its answer does not begin")

    def peek(self, count: int) -> bytes:
        while len(self._held) < count:
            self._more()
        return self._held[:count]

    def _more(self) -> None:
        chunk = next(self._chunks, b"")
        if not chunk:
            raise DroppedError("its answer ends in the middle")
        self._held += chunk
