"""DICOM files with identifiers planted wherever one has been seen, and where each was.

Every planted text is invented, and stands at one place only, so that what is left says from where it is.
"""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset, PrivateBlock
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

# Keyword, and what is planted there. Of dates and UIDs any other is as good, but none may stay.
STANDARD = {
    "AccessionNumber": "ACC7719203",
    "AcquisitionDate": "20190314",
    "AcquisitionDateTime": "20190315081502.25",
    "AcquisitionDeviceProcessingDescription": "Nachbearbeitung Drexelius",
    "AdditionalPatientHistory": "Treppensturz bei Familie Wiegold",
    "AdmissionID": "AUFN-551-73",
    "AdmittingDate": "20190311",
    "AdmittingDiagnosesDescription": "Fraktur, siehe Brief Dr. Kettwig",
    "ContentCreatorName": "Vossberg^Ilse",
    "ContentDate": "20190316",
    "CountryOfResidence": "Sankt Pilten",
    "CurrentPatientLocation": "Station Abelmann 4",
    "DetectorID": "DETX-88121",
    "DeviceSerialNumber": "SERX-99120-B",
    "EthnicGroup": "Hallunkenvolk",
    "FrameOfReferenceUID": "1.2.276.0.7230010.3.1.4.50001",
    "ImageComments": "Aufnahme fuer Prof. Quendler",
    "InstitutionAddress": "Lindwurmgasse 17, 99998 Oberkling",
    "InstitutionName": "Spital Mariengrund",
    "InstitutionalDepartmentName": "Radiologie Haus Trudering",
    "InsurancePlanIdentification": "KASSE-4410-Z",
    "IssuerOfPatientID": "MARIENGRUND-HIS",
    "MedicalAlerts": "Frau Sontberg anrufen",
    "MedicalRecordLocator": "AKTE-90-112",
    "MilitaryRank": "Obristfeldwebel",
    "NameOfPhysiciansReadingStudy": "Laurentz^Odo",
    "Occupation": "Glockengiesserin",
    "OperatorsName": "Mittermoos^Petra",
    "OtherPatientIDs": "ALTNR-70081",
    "OtherPatientNames": "Ziegenfuss^Hedwig",
    "PatientAddress": "Am Krautacker 3, 99997 Unterkling",
    "PatientBirthDate": "19320417",
    "PatientBirthDateInAlternativeCalendar": "5692 Nissan 11",
    "PatientBirthName": "Orlowsky^Hedwig Maria",
    "PatientComments": "kommt mit Nichte Adelgunde",
    "PatientID": "PID-3310-8874",
    "PatientMotherBirthName": "Tannhuber^Rosina",
    "PatientName": "Zimmerquist^Hedwiga",
    "PatientReligiousPreference": "Altglaeubig",
    "PatientTelephoneNumbers": "+49 5555 731902",
    "PerformedProcedureStepDescription": "Thorax bei Zimmerquist-Erbin",
    "PerformedProcedureStepID": "MPPS-6619-K",
    "PerformedProcedureStepStartDate": "20190313",
    "PerformingPhysicianName": "Habersatz^Leo",
    "ProtocolName": "Thorax nach Quellmalz",
    "ReferringPhysicianName": "Edelhuber^Karla",
    "ReferringPhysicianTelephoneNumbers": "0555-8812034",
    "RegionOfResidence": "Oberklinger Land",
    "RequestedProcedureComments": "eilig, Sohn wartet (Engelbrecht)",
    "RequestedProcedureDescription": "CT fuer Anwalt Rosswinkel",
    "RequestingPhysician": "Pfefferkorn^Uta",
    "RequestingService": "Ambulanz Silbertal",
    "ResponsiblePerson": "Zimmerling^Otto",
    "SeriesDate": "20190317",
    "SeriesDescription": "Serie fuer Gutachter Ammerland",
    "SeriesInstanceUID": "1.2.276.0.7230010.3.1.3.40001",
    "SOPInstanceUID": "1.2.276.0.7230010.3.1.4.30001",
    "StationName": "CTMARIEN02",
    "StudyDate": "20190318",
    "StudyDescription": "Verlauf Familie Birkenstoltz",
    "StudyID": "STUD-8841",
    "StudyInstanceUID": "1.2.276.0.7230010.3.1.2.20001",
    "TimezoneOffsetFromUTC": "+0545",
    "VisitComments": "Besuch von Pater Anselmus",
}
META = {
    "SourceApplicationEntityTitle": "AE_MARIENPACS",
    "SendingApplicationEntityTitle": "AE_SENDERLING",
    "ReceivingApplicationEntityTitle": "AE_EMPFANGER",
    "PrivateInformationCreatorUID": "1.2.276.0.7230010.3.1.9.90001",
    "PrivateInformation": "Geheim: Wollenweber",
}
_IN_BITS = "Im Bild: Kaltenegger"


@dataclass(frozen=True)
class Planted:
    """One identifier.

    Attributes:
        place: where it stands, e.g. ``"PatientName"``.
        text: what stands there.
        encoding: in which character set.
    """

    place: str
    text: str
    encoding: str = "ascii"

    def left_in(self, written: bytes) -> bool:
        """Whether a file still has it, in any of its bytes; of a name, each part counts."""
        if self.place == "unused bits of pixels":
            return _text_in_bits(written, self.text)
        parts = self.text.split("^") if "^" in self.text else [self.text]
        return any(part.encode(self.encoding) in written for part in parts)


def planted_ct(number: int = 0, size: int = 256) -> tuple[bytes, list[Planted]]:
    """A CT slice as a Part 10 file, and what was planted in it.

    Args:
        number: the slice's, which is in its SOPInstanceUID; the patient and the study are the same.
        size: its rows and columns.
    """
    standard = STANDARD | {"SOPInstanceUID": f"{STANDARD['SOPInstanceUID']}.{number}"}
    dataset = _slice(size)
    for keyword, text in standard.items():
        setattr(dataset, keyword, text)
    planted = [Planted(keyword, text) for keyword, text in (standard | META).items()]
    planted += [*_nest(dataset), *_add_private(dataset), *_draw(dataset)]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for keyword, text in META.items():
        setattr(meta, keyword, text.encode() if keyword == "PrivateInformation" else text)
    preamble = b"Vorspann: Dornauer".ljust(128, b" ")
    planted.append(Planted("preamble", "Vorspann: Dornauer"))
    buffer = io.BytesIO()
    dcmwrite(buffer, FileDataset("", dataset, preamble=preamble, file_meta=meta), enforce_file_format=True)
    return buffer.getvalue(), planted


def _slice(size: int) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.Modality = CTImageStorage, "CT"
    dataset.ImageType, dataset.BodyPartExamined = ["ORIGINAL", "PRIMARY", "AXIAL"], "CHEST"
    dataset.Manufacturer, dataset.ConvolutionKernel = "Wardround Phantoms", "B30f"
    dataset.PatientSex, dataset.PatientAge, dataset.PatientSize = "F", "087Y", "1.63"
    dataset.StudyTime, dataset.SliceThickness, dataset.KVP = "101530", "1.5", "120"
    dataset.PixelSpacing, dataset.ImagePositionPatient = [0.7, 0.7], [-90, -90, 12]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows = dataset.Columns = size
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation, dataset.RescaleIntercept, dataset.RescaleSlope = 0, -1024, 1
    return dataset


def _nest(dataset: Dataset) -> list[Planted]:
    """Identifiers in sequences, up to three deep, in those that stay and in those that go."""
    request = _item(
        ScheduledProcedureStepDescription="Planung durch Uhlenbrock",
        RequestedProcedureID="ANF-22-9134",
        ScheduledProcedureStepID="SPS-22-9135",
    )
    physician = _item(InstitutionName="Praxis am Eulentor")
    physician.PersonIdentificationCodeSequence = _code("ARZT77", "Frau Doktor Immergrun")
    image = _item(
        ReferencedSOPClassUID=CTImageStorage, ReferencedSOPInstanceUID="1.2.276.0.7230010.3.1.4.60001"
    )
    image.PurposeOfReferenceCodeSequence = _code("ZWECK3", "Vergleich mit Bruder Theobald")
    image.PurposeOfReferenceCodeSequence[0].ImageComments = "tief drin: Wachholder"
    region = _code("T-D3000", "Thorax von Hedwig Bollermann", scheme="SRT")
    region[0].PatientComments = "in der Region: Schlehdorn"
    dataset.RequestAttributesSequence = Sequence([request])
    dataset.RequestingPhysicianIdentificationSequence = Sequence([physician])
    dataset.ReferencedImageSequence = Sequence([image])
    dataset.AnatomicRegionSequence = region
    dataset.ProcedureCodeSequence = _code("HAUS0815", "Thorax Sonderfall Gerstenberg", scheme="99HAUS")
    dataset.OtherPatientIDsSequence = Sequence(
        [_item(PatientID="ZWEITNR-5512", IssuerOfPatientID="KLINIK-NORD")]
    )
    dataset.PerformedProtocolCodeSequence = _code("PROT44", "Protokoll Mandelkow", scheme="99HAUS")
    texts = (
        *("Planung durch Uhlenbrock", "ANF-22-9134", "SPS-22-9135", "Praxis am Eulentor", "ARZT77"),
        *("Frau Doktor Immergrun", "1.2.276.0.7230010.3.1.4.60001", "Vergleich mit Bruder Theobald"),
        *("tief drin: Wachholder", "Thorax von Hedwig Bollermann", "in der Region: Schlehdorn"),
        *("Thorax Sonderfall Gerstenberg", "ZWEITNR-5512", "KLINIK-NORD", "Protokoll Mandelkow"),
    )
    return [Planted("in a sequence", text) for text in texts]


def _add_private(dataset: Dataset) -> list[Planted]:
    """Private attributes at the top, in a sequence that stays, and a private sequence with a name in it."""
    block = dataset.private_block(0x0009, "MARIENGRUND 1.0", create=True)
    block.add_new(0x01, "LO", "privat: Auerswald")
    block.add_new(0x02, "UN", b"roh: Bechstein")
    block.add_new(0x03, "OB", b"\0\1binaer: Cranachen")
    block.add_new(0x04, "SQ", Sequence([_item(PatientName="Dinkelacker^Rolf")]))
    block.add_new(0x05, "DA", "19320418")
    nested: PrivateBlock = dataset.AnatomicRegionSequence[0].private_block(0x0011, "NORD 2", create=True)
    nested.add_new(0x01, "LT", "verschachtelt: Ebersbacher")
    texts = (
        *("MARIENGRUND 1.0", "privat: Auerswald", "roh: Bechstein", "binaer: Cranachen", "Dinkelacker^Rolf"),
        *("19320418", "verschachtelt: Ebersbacher"),
    )
    return [Planted("private", text) for text in texts]


def _draw(dataset: Dataset) -> list[Planted]:
    """Overlays, a curve, an icon, padding, and what lies behind the pixels and in bits they do not use."""
    dataset.add_new(0x60000010, "US", 8)
    dataset.add_new(0x60000011, "US", 32)
    dataset.add_new(0x60000022, "LO", "Overlay: Falkenrath")
    dataset.add_new(0x60001500, "LO", "Etikett: Grunewalder")
    dataset.add_new(0x60003000, "OW", b"gezeichnet: Hollunder".ljust(32, b"\0"))
    dataset.add_new(0x60004000, "LT", "dazu: Isenbruck")
    dataset.add_new(0x50000022, "LO", "Kurve: Jagelsberger")
    dataset.add_new(0x50003000, "OW", b"Punkte: Klosterkamp ")
    dataset.IconImageSequence = Sequence([_item(BitsAllocated=8, PixelData=b"kleines Bild: Lauterbach")])
    dataset.add_new(0xFFFCFFFC, "OB", b"Fuellung: Morgenroth")
    behind = b"hinter den Pixeln: Nonnenmacher "
    dataset.PixelData = _pixels(dataset.Rows).tobytes() + behind
    dataset["PixelData"].VR = "OW"
    texts = (
        *("Overlay: Falkenrath", "Etikett: Grunewalder", "gezeichnet: Hollunder", "dazu: Isenbruck"),
        *("Kurve: Jagelsberger", "Punkte: Klosterkamp", "kleines Bild: Lauterbach", "Fuellung: Morgenroth"),
        *("hinter den Pixeln: Nonnenmacher",),
    )
    return [*(Planted("drawn", text) for text in texts), Planted("unused bits of pixels", _IN_BITS)]


def _pixels(size: int) -> NDArray[np.uint16]:
    """A body with two lungs, and in bit 12, which no reader shows, a text."""
    rows, columns = np.mgrid[:size, :size] / size - 0.5
    values = np.full((size, size), 24.0)
    values[(columns / 0.42) ** 2 + (rows / 0.32) ** 2 < 1] = 1064
    for side in (-1, 1):
        values[((columns - side * 0.19) / 0.13) ** 2 + (rows / 0.22) ** 2 < 1] = 174
    noisy = values + np.random.default_rng(0).normal(0, 12, values.shape)
    pixels = np.clip(noisy, 0, 4095).astype(np.uint16)
    bits = np.unpackbits(np.frombuffer(_IN_BITS.encode(), np.uint8)).astype(np.uint16)
    pixels.ravel()[: len(bits)] |= bits << 12
    return pixels


def _text_in_bits(written: bytes, text: str) -> bool:
    """Whether any one bit of the pixels, taken from all of them, spells ``text``."""
    dataset = dcmread(io.BytesIO(written), force=True)
    content = bytes(dataset.get("PixelData", b""))
    pixels = np.frombuffer(content[: len(content) // 2 * 2], "<u2")
    planes = (np.packbits(((pixels >> bit) & 1).astype(np.uint8)).tobytes() for bit in range(16))
    return any(text.encode() in plane for plane in planes)


def _item(**values: object) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def _code(value: str, meaning: str, scheme: str = "99HAUS") -> Sequence:
    return Sequence([_item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)])
