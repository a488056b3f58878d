"""A file de-identified to DICOM PS3.15 Annex E: admitted, cleaned, verified, and only then said to be."""

import io

from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes
from pydicom.uid import UID

from client_app.data.deidentify.admission import admit, often_has_text, speaks_of_head
from client_app.data.deidentify.cleaning import Cleaning, Explained
from client_app.data.deidentify.options import DEFAULTS, Options
from client_app.data.deidentify.pixels import clean_pixels
from client_app.data.deidentify.quiet import quiet
from client_app.data.deidentify.table import EDITION
from client_app.data.deidentify.verifier import verify
from client_app.data.keys import Pseudonyms

# CID 7050. No code for cleaned pixels: what has text in them is refused, and nothing is cleaned.
METHODS = ("113100", "113107", "113108")
METHOD = f"Wardround, {EDITION}"


def deidentify(dataset: Dataset, pseudonyms: Pseudonyms, options: Options = DEFAULTS) -> FileDataset:
    """A new data set, with its file meta information, that has nothing left of who ``dataset`` is of.

    ``dataset`` is a file's, as ``read_instance`` gives it, and stays as it is. What is done with each
    attribute is in ``rules``, and what is kept and why in docs/deidentification.md.

    Raises:
        Refused: by a rule of ``admission``, ``cleaning``, ``pixels`` or ``verifier``, or ``"unreadable"``.
    """
    with quiet("unreadable", "the file"):
        admit(dataset, options)
        patient = str(dataset.PatientID)
        clean = _file(Cleaning(pseudonyms, patient).cleaned(dataset), dataset.file_meta.TransferSyntaxUID)
        clean_pixels(clean, wary=often_has_text(dataset))
        verify(dataset, written(clean), pseudonyms.shift(patient))
        _say_so(clean)
        if speaks_of_head(dataset):
            clean.RecognizableVisualFeatures = "YES"
        return clean


def written(dataset: FileDataset) -> bytes:
    """The file that ``dataset`` is, as it stands on a disk.

    Raises:
        Refused: ``"unwritable"``.
    """
    buffer = io.BytesIO()
    with quiet("unwritable", "the result"):
        dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def explain(dataset: Dataset) -> tuple[Explained, ...]:
    """What is done with each attribute of ``dataset``, in its order, and why; no value is in it.

    Raises:
        Refused: it cannot be read.
    """
    rows: list[Explained] = []
    with quiet("unreadable", "the file"):
        patient = str(dataset.get("PatientID", ""))
        # Nothing that depends on the key is in the rows.
        Cleaning(Pseudonyms(bytes(32)), patient, rows.append).cleaned(dataset)
    return tuple(rows)


def _file(clean: Dataset, syntax: UID) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = clean.SOPClassUID
    meta.MediaStorageSOPInstanceUID = clean.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    return FileDataset("", clean, preamble=bytes(128), file_meta=meta)


def _say_so(clean: FileDataset) -> None:
    """Only after the verifier has passed."""
    clean.PatientIdentityRemoved = "YES"
    clean.DeidentificationMethod = METHOD
    clean.DeidentificationMethodCodeSequence = Sequence([_method(value) for value in METHODS])
    clean.LongitudinalTemporalInformationModified = "MODIFIED"


def _method(value: str) -> Dataset:
    code = next(code for code in codes.cid7050.concepts.values() if code.value == value)
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = code.value, code.scheme_designator
    item.CodeMeaning = code.meaning
    return item
