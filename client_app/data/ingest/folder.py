"""An image of a table: a PNG, a NIfTI, a DICOM file, or a folder with the DICOM files of one series."""

import os
from hashlib import file_digest, sha256
from pathlib import Path

from client_app.data.dicom.door import read_instance
from client_app.data.fhir.judge import Case
from client_app.data.ingest.study import read_study
from client_app.data.keys import Pseudonyms
from client_app.data.pacs.images import ImageKind, is_image, read_image
from client_app.data.refusal import Refused
from client_app.data.volume import Volume


def digest_of(path: Path) -> str | None:
    """SHA-256 over what an image's files hold; None where there is none that can be read."""
    digest = sha256()
    try:
        files = _files(path)
        for each in files:
            with each.open("rb") as file:
                digest.update(file_digest(file, "sha256").digest())
    except OSError:
        return None
    return digest.hexdigest() if files else None


def read_any(path: Path, patient: str, kind: ImageKind, pseudonyms: Pseudonyms) -> Volume:
    """The image at ``path``, without names.

    Args:
        path: of a file, or of a folder of DICOM files.
        patient: the hospital's number of whom the table says that it is.
        kind: what the hospital says that it is.
        pseudonyms: of the site.

    Raises:
        Refused: by a rule of ``read_image``; of DICOM by one of ``read_study`` or ``volume``, or where it is
            another patient's (``other-patient``), several series (``mixed-series``), or of another modality
            (``other-modality``).
    """
    if path.is_file() and is_image(path):
        return read_image(path, kind)
    files = _files(path)
    study = str(read_instance(files[0]).StudyInstanceUID)
    read = read_study(Case(patient, study, {}, ()), files, pseudonyms, kind.options)
    for rule in sorted(read.failed):
        raise Refused(rule, "a file of the series could not be looked at", passing=True)
    for rule in sorted(read.refused):
        raise Refused(rule, "a file of the series was refused")
    if len(read.series) != 1:
        raise Refused("mixed-series", f"the files are of {len(read.series)} series; give each a row")
    [made] = read.series.values()
    volume = made()
    if volume.modality != kind.modality:
        raise Refused("other-modality", f"the files are not {kind.modality}, as was said")
    return volume


def _files(path: Path) -> list[Path]:
    """Sorted; no link, which could lead out of the folder."""
    if path.is_file():
        return [path]
    found = (Path(folder) / name for folder, _, names in os.walk(path) for name in names)
    return sorted(each for each in found if each.is_file() and not each.is_symlink())
