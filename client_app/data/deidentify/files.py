"""De-identified files from files; what is refused is told by its place, since file names name patients."""

from pathlib import Path

from client_app.data.deidentify.options import Options
from client_app.data.deidentify.profile import deidentify, written
from client_app.data.dicom.door import read_instance
from client_app.data.keys import Pseudonyms
from client_app.data.refusal import Refused
from federation.files import write_whole


def deidentify_file(file: Path, to: Path, pseudonyms: Pseudonyms, options: Options) -> Path:
    """``file`` de-identified, in the folder ``to``; what it is called there is its new SOPInstanceUID.

    Raises:
        Refused: by a rule of ``read_instance`` or ``deidentify``, or ``"duplicate-uid"``: another file of
            that UID, with something else in it, lies there already.
        StorageError: it could not be written.
    """
    clean = deidentify(read_instance(file), pseudonyms, options)
    content = written(clean)
    path = to / f"{clean.SOPInstanceUID}.dcm"
    if path.exists() and path.read_bytes() != content:
        raise Refused("duplicate-uid", "two files have its SOPInstanceUID and differ; see which is right")
    write_whole(path, content, mode=0o600)
    return path
