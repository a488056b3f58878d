"""JPEG, JPEG-LS and JPEG 2000 codestreams without what encoders and others write into them beside pixels.

The payloads of comments and application segments are filled with zeros, so that no offset changes; what lies
behind the end of the image is cut off. Markers: ISO/IEC 10918-1 B.1, 14495-1 C.1, 15444-1 A.2.
"""

from client_app.data.refusal import Refused

_SOI, _EOI, _SOS, _COMMENT = 0xD8, 0xD9, 0xDA, 0xFE
_J2K_COMMENT, _SOT, _SOD, _EOC = 0x64, 0x90, 0x93, 0xD9


def without_comments(frame: bytes) -> bytes:
    """The codestream of one frame.

    Raises:
        Refused: ``"codestream"``, it does not begin or end as one.
    """
    blank = bytearray(frame)
    if frame[:2] == b"\xff\xd8":
        end = _jpeg(blank)
    elif frame[:4] == b"\xff\x4f\xff\x51":
        end = _jpeg_2000(blank)
    else:
        raise Refused("codestream", "a frame is no JPEG, JPEG-LS or JPEG 2000 codestream; convert it")
    return bytes(blank[:end]) + bytes(end % 2)


def _jpeg(frame: bytearray) -> int:
    """Where the image ends."""
    at = 2
    while at + 4 <= len(frame):
        if frame[at] != 0xFF:
            break
        marker, length = frame[at + 1], int.from_bytes(frame[at + 2 : at + 4])
        if marker == _EOI:
            return at + 2
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        payload = bytes(frame[at + 4 : at + 2 + length])
        if marker == _COMMENT or (0xE0 <= marker <= 0xEF and not _needed(marker, payload)):
            frame[at + 4 : at + 2 + length] = bytes(len(payload))
        at += 2 + length
        if marker == _SOS:
            at = _next_marker(frame, at)
    if frame[at : at + 2] == b"\xff\xd9":
        return at + 2
    raise Refused("codestream", "a JPEG frame is broken, or does not end; see to it at its source")


def _needed(marker: int, payload: bytes) -> bool:
    """Whether a decoder needs it: a JFIF header without a thumbnail, Adobe's and HP's colours."""
    return (
        (marker == 0xE0 and payload[:5] == b"JFIF\0" and len(payload) == 14)
        or (marker == 0xEE and payload[:5] == b"Adobe" and len(payload) == 12)
        or (marker == 0xE8 and payload[:4] == b"mrfx" and len(payload) == 5)
    )


def _next_marker(frame: bytearray, at: int) -> int:
    """The first marker after entropy-coded data, in which 0xFF is followed by a bit of 0 or by a restart."""
    while (at := frame.find(0xFF, at)) >= 0 and at + 1 < len(frame):
        follows = frame[at + 1]
        # JPEG stuffs a byte of zero, JPEG-LS a bit.
        if follows >= 0x80 and not 0xD0 <= follows <= 0xD7 and follows != 0xFF:
            return at
        at += 1
    return len(frame)


def _jpeg_2000(frame: bytearray) -> int:
    """Where the image ends."""
    at, tile_end = 2, 0
    while at + 4 <= len(frame):
        marker, length = frame[at + 1], int.from_bytes(frame[at + 2 : at + 4])
        if frame[at] != 0xFF:
            break
        if marker == _EOC:
            return at + 2
        if marker == _SOD:
            if not at < tile_end <= len(frame):
                break
            at = tile_end
            continue
        if marker == _SOT:
            size = int.from_bytes(frame[at + 6 : at + 10])
            tile_end = at + size if size else _last_end(frame)
        elif marker == _J2K_COMMENT:
            frame[at + 6 : at + 2 + length] = bytes(max(0, length - 4))
        at += 2 + length
    if frame[at : at + 2] == b"\xff\xd9":
        return at + 2
    raise Refused("codestream", "a JPEG 2000 frame is broken, or does not end; see to it at its source")


def _last_end(frame: bytearray) -> int:
    """Where the last tile ends that does not say how long it is: at the last end of a codestream."""
    return frame.rfind(b"\xff\xd9")
