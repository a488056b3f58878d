"""CT series as small as they can be and still be what a PACS sends."""

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from client_app.data.refusal import Refused

SAMPLES = Path(pydicom.__file__).parent / "data" / "test_files"
SERIES, STUDY = "2.25.4711", "2.25.815"


def ct_slice(number=0, values=None, **changes):
    """An axial slice, 1.25 mm above the last, int16 [16, 16]; ``changes`` set attributes, None removes."""
    values = np.full((16, 16), number, dtype=np.int16) if values is None else values
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = f"{SERIES}.{number}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = STUDY, SERIES
    dataset.PatientName = "Müller^Anna"
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.Modality = "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Rows, dataset.Columns = values.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = values.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    dataset.PixelSpacing, dataset.SliceThickness = [0.75, 0.75], 1.25
    dataset.ImagePositionPatient = [-6.0, -6.0, 1.25 * number - 100]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, -1024, "HU"
    dataset["PixelData"] = pydicom.DataElement("PixelData", "OW", values.tobytes())
    for name, value in changes.items():
        if value is None:
            del dataset[name]
        else:
            setattr(dataset, name, value)
    return dataset


def as_bytes(dataset):
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


@pytest.fixture
def file(tmp_path):
    """A file of these bytes, or of this data set."""

    def file(content):
        path = tmp_path / "instance.dcm"
        path.write_bytes(as_bytes(content) if isinstance(content, Dataset) else content)
        return path

    return file


@pytest.fixture
def refused():
    """The rule by which something is refused, and its message, which names nobody."""

    def refused(act, *args):
        with pytest.raises(Refused) as caught:
            act(*args)
        assert "Müller" not in str(caught.value)
        assert STUDY not in str(caught.value)
        return caught.value.rule

    return refused
