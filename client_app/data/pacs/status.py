"""What an archive answers to a DIMSE request: done, under way, not now, or never."""

from pydicom import Dataset

from client_app.data.pacs.dropped import DroppedError
from federation.errors import RunError

PENDING = (0xFF00, 0xFF01)
# PS3.4 tables C.4-2 and C.4-3, PS3.7 annex C: to ask again will not help.
_NEVER = {
    0xA801: "it does not know our AE title as a place to move to",
    0xA900: "it does not understand the question",
    0x0122: "it does not offer this",
    0x0124: "it does not allow us this",
}


def checked(status: Dataset) -> int:
    """A status that is not a failure.

    Raises:
        DroppedError: there is none, since the connection has ended; or it may be better the next time.
        RunError: it will not be.
    """
    if "Status" not in status:
        raise DroppedError("the connection ended")
    code = int(status.Status)
    if code in _NEVER:
        raise RunError(f"the archive says no: {_NEVER[code]} (status 0x{code:04X})")
    if code not in (0x0000, 0xB000, *PENDING):
        raise DroppedError(f"status 0x{code:04X}")
    return code
