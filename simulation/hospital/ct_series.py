"""Small, valid CT series with identifiers planted wherever hospitals leave them; all of them are made up."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, FileDataset
from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian

ROOT = "1.2.826.0.1.3680043.10.1422"  # below pydicom's root, which anybody may use
CREATOR = "ACME CT 1.1"

# Of each script that a hospital's records hold: as the standard's annexes H to K write them.
NAMES = (
    "Müller^Jörg",
    "Κωνσταντίνου^Ελένη",
    "Иванова^Людмила",
    "Wang^XiaoDong=王^小东",
    "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "Hong^Gildong=洪^吉洞=홍^길동",
    "قباني^لنزار",
    "שרון^דבורה",
    "शर्मा^अनिता",
    "O'Brien-Łukasiewicz^Zoë^^Dr.",
)


@dataclass(frozen=True)
class Patient:
    """Who is named in the files.

    Attributes:
        number: whom all else follows from.
    """

    number: int

    @property
    def name(self) -> str:
        """As DICOM writes it, with its scripts."""
        return NAMES[self.number % len(NAMES)]

    @property
    def id(self) -> str:
        """The hospital's number."""
        return f"MRN{7_100_000 + self.number}"

    @property
    def address(self) -> str:
        """Where they live."""
        return f"{self.number + 12} Elm Grove, Northtown"

    @property
    def telephone(self) -> str:
        """How they are called."""
        return f"+49 30 55{self.number:05}"

    @property
    def born(self) -> str:
        """When, YYYYMMDD."""
        return f"{1931 + self.number % 70}0{1 + self.number % 9}17"


@dataclass(frozen=True)
class CtStudy:
    """A study of one series: the same number always gives the same bytes.

    Attributes:
        number: what UIDs, accession number, date and pixels follow from.
        patient: whose it is.
        slices: of the series.
        size: rows and columns of a slice.
        series: how many series.
        syntax: how the files are encoded; compressed ones too.
        values: int16 ``[slices, rows, columns]`` in HU, in the place of a ball in air.
        spacing: mm between slices, and between pixels.
    """

    number: int
    patient: Patient
    slices: int = 12
    size: int = 16
    series: int = 1
    syntax: UID = ExplicitVRLittleEndian
    values: NDArray[np.int16] | None = None
    spacing: tuple[float, float] = (2.5, 0.75)

    @property
    def uid(self) -> str:
        """Study Instance UID."""
        return f"{ROOT}.{self.number + 1}"

    @property
    def accession(self) -> str:
        """Accession number."""
        return f"ACC{40_000 + self.number}"

    @property
    def date(self) -> str:
        """When it was taken, YYYYMMDD; of a patient all on one day."""
        return f"2024{1 + self.patient.number % 12:02}{1 + self.patient.number % 28:02}"

    def series_uid(self, series: int = 0) -> str:
        """Series Instance UID."""
        return f"{self.uid}.1.{series + 1}"

    def sop_uid(self, place: int, series: int = 0) -> str:
        """SOP Instance UID."""
        return f"{self.uid}.2.{series + 1}.{place + 1}"

    def instances(self) -> Iterator[FileDataset]:
        """The slices from the feet up, series after series; HU of a ball in air."""
        for series in range(self.series):
            for place in range(self.slices):
                yield self.instance(place, series)

    def instance(self, place: int, series: int = 0) -> FileDataset:
        """The slice at ``place``, counted from the feet."""
        dataset = _named(self)
        dataset.SOPClassUID = CTImageStorage
        dataset.SOPInstanceUID = self.sop_uid(place, series)
        dataset.SeriesInstanceUID = self.series_uid(series)
        dataset.SeriesNumber, dataset.InstanceNumber, dataset.AcquisitionNumber = series + 1, place + 1, 1
        dataset.Modality, dataset.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.FrameOfReferenceUID = f"{self.uid}.3"
        dataset.PositionReferenceIndicator = ""
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        between, pixel = self.spacing
        dataset.ImagePositionPatient = [-100.0, -100.0, between * place - 300.0]
        dataset.SliceLocation = between * place - 300.0
        dataset.SliceThickness, dataset.PixelSpacing, dataset.KVP = between, [pixel, pixel], 120
        _put_pixels(dataset, self._hounsfield(place, series))
        _plant(dataset, self)
        return _in_a_file(dataset, self.syntax)

    def _hounsfield(self, place: int, series: int) -> NDArray[np.int_]:
        """``[rows, columns]`` in HU."""
        if self.values is not None:
            slice_: NDArray[np.int_] = self.values[place].astype(np.int_)
            return slice_
        noise = np.random.default_rng([self.number, series, place])
        across = np.linspace(-1, 1, self.size)
        up = 2 * (place + 0.5) / self.slices - 1
        radius = np.sqrt(across[:, None] ** 2 + across[None, :] ** 2 + up**2)
        ball: NDArray[np.int_] = np.where(radius < 0.7, 40, -1000)
        return ball + noise.integers(-20, 21, (self.size, self.size))


def planted(study: CtStudy) -> set[str]:
    """Every text in the study's files that names its patient, those near them, or their visit."""
    who = study.patient
    parts = {part for group in who.name.split("=") for part in group.split("^") if len(part) > 2}
    uids = {study.uid, *(study.series_uid(series) for series in range(study.series))}
    instances = {
        study.sop_uid(place, series) for series in range(study.series) for place in range(study.slices)
    }
    people = {"Physician", "Radiographer", "Grandmother"}
    places = {"Northtown General", "NORTHTOWN_CT1", "SN-55-0815", "WS_NORTHTOWN", who.address, who.telephone}
    return parts | uids | instances | people | places | {who.id, who.born, study.accession, study.date}


def studies(count: int, slices: int = 12) -> list[CtStudy]:
    """``count`` studies; of the patients, every fifth has two."""
    return [
        CtStudy(number, Patient(number - 1 if number % 5 == 1 else number), slices) for number in range(count)
    ]


def encoded(dataset: Dataset) -> bytes:
    """The bytes of the file."""
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _named(study: CtStudy) -> Dataset:
    """What is the same in all files of a study."""
    who, dataset = study.patient, Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName, dataset.PatientID = who.name, who.id
    dataset.PatientBirthDate, dataset.PatientSex = who.born, "FMO"[study.patient.number % 3]
    dataset.StudyInstanceUID, dataset.AccessionNumber = study.uid, study.accession
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = study.date
    dataset.StudyTime = dataset.SeriesTime = "101500"
    dataset.StudyID, dataset.StudyDescription = f"S{study.number}", "CT thorax"
    dataset.ReferringPhysicianName = "Physician^Petra"
    return dataset


def _plant(dataset: Dataset, study: CtStudy) -> None:
    """Names in the tags for them, in those that are not for them, in sequences and in private tags."""
    who = study.patient
    dataset.OtherPatientNames = "Grandmother^Greta"
    dataset.PatientAddress, dataset.PatientTelephoneNumbers = who.address, who.telephone
    dataset.InstitutionName, dataset.InstitutionAddress = "Northtown General", who.address
    dataset.StationName, dataset.DeviceSerialNumber = "NORTHTOWN_CT1", "SN-55-0815"
    dataset.OperatorsName = "Radiographer^Rita"
    dataset.Manufacturer, dataset.ManufacturerModelName = "ACME", "Model T"
    dataset.ProtocolName = f"Thorax {who.id}"
    dataset.ImageComments = f"asked for by the patient's wife, {who.telephone}"
    other, request, referred = Dataset(), Dataset(), Dataset()
    other.PatientID, other.IssuerOfPatientID = who.id, "Northtown General"
    request.ScheduledProcedureStepDescription = f"CT of {who.id} on {study.date}"
    request.RequestedProcedureID, request.ScheduledStationAETitle = study.accession, "WS_NORTHTOWN"
    referred.ReferencedSOPClassUID, referred.ReferencedSOPInstanceUID = CTImageStorage, study.sop_uid(0)
    request.ReferencedImageSequence = [referred]
    dataset.OtherPatientIDsSequence, dataset.RequestAttributesSequence = [other], [request]
    block = dataset.private_block(0x0019, CREATOR, create=True)
    block.add_new(0x01, "LO", who.id)
    block.add_new(0x02, "PN", who.name)
    hidden = Dataset()
    hidden.PatientAddress = who.address
    block.add_new(0x03, "SQ", [hidden])
    block.add_new(0x04, "OB", who.telephone.encode().ljust(16, b"\0"))


def _put_pixels(dataset: Dataset, hounsfield: NDArray[np.int_]) -> None:
    dataset.Rows, dataset.Columns = hounsfield.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = -1024, 1, "HU"
    dataset.WindowCenter, dataset.WindowWidth = 40, 400
    dataset.add_new("PixelData", "OW", (hounsfield + 1024).astype("<i2").tobytes())


def _in_a_file(dataset: Dataset, syntax: UID) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    plain = ImplicitVRLittleEndian if syntax == ImplicitVRLittleEndian else ExplicitVRLittleEndian
    meta.TransferSyntaxUID = plain
    meta.SourceApplicationEntityTitle = meta.SendingApplicationEntityTitle = "NORTHTOWN_CT1"
    meta.ImplementationClassUID, meta.ImplementationVersionName = UID(f"{ROOT}.9"), "ACME_1"
    file = FileDataset("", dataset, preamble=b"\0" * 128, file_meta=meta)
    if syntax != plain:
        file.compress(syntax, generate_instance_uid=False)
    return file


def all_bytes(made: Sequence[CtStudy]) -> Iterator[bytes]:
    """The files of all studies."""
    for study in made:
        for dataset in study.instances():
            yield encoded(dataset)
