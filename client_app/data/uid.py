"""Names of studies, series and files in DICOM."""

import re

# PS3.5 section 9.1; leading zeros of a component are against it, and in many an archive.
_UID = re.compile(r"[0-9]+(?:\.[0-9]+)*", re.ASCII)
_LONGEST = 64


def is_uid(text: str) -> bool:
    """Whether it is a UID: nothing in it can lead out of a folder or a URL, or match a second one."""
    return len(text) <= _LONGEST and _UID.fullmatch(text) is not None
