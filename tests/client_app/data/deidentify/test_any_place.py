"""Names in every script, in any attribute of the standard, at any depth: gone, or the file is refused."""

import io
from contextlib import suppress
from datetime import date
from functools import cache

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from pydicom import dcmread, dcmwrite
from pydicom._dicom_dict import DicomDictionary
from pydicom.config import disable_value_validation
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from client_app.data.deidentify import profile, verifier
from client_app.data.deidentify.profile import deidentify, explain, written
from client_app.data.deidentify.quiet import quiet
from client_app.data.deidentify.rules import decide
from client_app.data.keys import Pseudonyms
from client_app.data.refusal import Refused

KEY = Pseudonyms(bytes(32))
TEXTS = ("PN", "LO", "SH", "LT", "ST", "UT", "UC", "AE", "UR", "CS", "DA", "TM", "DT", "AS", "IS", "DS", "UI")
BINARIES = ("OB", "OW", "UN")
PLACES = sorted(
    tag
    for tag, entry in DicomDictionary.items()
    if entry[0].split(" or ")[0] in (*TEXTS, *BINARIES) and 8 <= tag >> 16 != 0x7FE0 and keyword_for_tag(tag)
)
KEPT_OUT = {"SOPClassUID", "SpecificCharacterSet", "PhotometricInterpretation", "TransferSyntaxUID"}
NAMES = st.one_of(
    st.sampled_from(
        ["Zimmerquist", "Øksendal", "Müßiggang", "Дубровская", "Παπαδοπούλου", "山田太郎", "김희중", "王小东"]
    ),
    st.text(st.characters(categories=["Lu", "Ll", "Lo"], max_codepoint=0xFFFF), min_size=5, max_size=12),
)


def small(**attributes):
    """A CT of 4 by 4 pixels."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.Modality, dataset.PhotometricInterpretation = (
        CTImageStorage,
        "CT",
        "MONOCHROME2",
    )
    dataset.SOPInstanceUID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.7.8", "1.7.6", "1.7.7"
    dataset.PatientID, dataset.SamplesPerPixel, dataset.Rows, dataset.Columns = "P-7788-1", 1, 4, 4
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation, dataset.PixelData = 15, 0, bytes(32)
    with disable_value_validation():
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
    return dataset


def as_read(dataset, syntax=ExplicitVRLittleEndian, *, converted=False):
    """A data set as it comes from a disk; nothing of it is parsed yet, or all of it."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = syntax, CTImageStorage
    meta.MediaStorageSOPInstanceUID = "1.7.8"
    buffer = io.BytesIO()
    with quiet("test", "the test's file"):
        dcmwrite(buffer, FileDataset("", dataset, file_meta=meta), enforce_file_format=True)
    buffer.seek(0)
    with quiet("test", "the test's file"):
        read = dcmread(buffer)
        if converted:
            assert list(read.iterall())
        return read


@cache
def says_of_itself():
    """What every result and every explanation say, whoever they are of; in small letters."""
    original = as_read(small())
    rules = " ".join(decide(Tag(tag)).reason for tag in DicomDictionary)
    names = " ".join(entry[4] for entry in DicomDictionary.values())
    return (
        written(deidentify(original, KEY)).lower() + f"{rules} {names} {explain(original)}".lower().encode()
    )


def plant(item, tag, name, *, private):
    """Have ``tag``, or a private attribute that calls itself as ``name`` does, say ``name``."""
    vr = DicomDictionary[tag][0].split(" or ", maxsplit=1)[0]
    with disable_value_validation():
        if private:
            block = item.private_block(0x0077, name, create=True)
            block.add_new(1, "UN", name.encode())
            block.add_new(2, "LO", name)
        elif vr in BINARIES:
            item.add_new(tag, vr, name.encode())
        else:
            # What is to be a number is given another VR than it should have.
            item.add_new(tag, "LO" if vr in ("IS", "DS") else vr, name)


def tried(original):
    """The bytes of the result, and what a refusal says; one of both is empty."""
    try:
        return written(deidentify(original, KEY)), ""
    except Refused as refused:
        return b"", str(refused)


def forms(name, charset="utf-8"):
    return {text.encode(charset) for text in (name, name.upper(), name.lower()) if _encodes(text, charset)}


def _encodes(text, charset):
    try:
        return bool(text.encode(charset))
    except UnicodeEncodeError:
        return False


@pytest.mark.attack("a name where nobody looks for one", held_by="rules for all attributes, and the verifier")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(NAMES, st.sampled_from(PLACES), st.integers(0, 3), st.booleans(), st.booleans())
@example("Zimmerquist", 0x00180015, 0, False, False)
@example("Zimmerquist", 0x00080104, 2, True, False)
def test_a_name_in_any_attribute_is_gone_or_the_file_is_refused(name, tag, depth, implicit, private):
    assume(keyword_for_tag(tag) not in KEPT_OUT)
    assume(name.casefold() not in verifier._WORDS | verifier._OF_NOBODY)  # docs/deidentification.md
    assume(not any(form.lower() in says_of_itself() for form in forms(name)))
    dataset = small(SpecificCharacterSet="ISO_IR 192", PatientName=f"{name}^X")
    inner = dataset
    for _ in range(depth):
        item = Dataset()
        inner.AnatomicRegionSequence = Sequence([item])
        inner = item
    plant(inner, tag, name, private=private)
    try:
        original = as_read(dataset, ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian)
    except Refused:
        return  # not even pydicom writes it
    clean, said = tried(original)
    assert name not in said
    assert not any(form in clean for form in forms(name))
    with suppress(Refused):
        assert name not in str(explain(original))


@pytest.mark.mutant("a name where nobody looks for one", how="all is taken over as it was")
def test_a_search_that_would_find_nothing_is_noticed(monkeypatch):
    monkeypatch.setattr(profile.Cleaning, "cleaned", lambda self, dataset: Dataset(dataset))
    monkeypatch.setattr(profile, "verify", lambda *_: None)
    original = as_read(small(SpecificCharacterSet="ISO_IR 192", PatientName="Øksendal"))
    assert any(form in written(deidentify(original, KEY)) for form in forms("Øksendal"))


SCRIPTS = [
    ("ISO_IR 100", "Äneas^Rüdiger", "latin_1"),
    ("ISO_IR 101", "Wałęsa^Łucja", "iso8859_2"),
    ("ISO_IR 144", "Лунин^Ольга", "iso_ir_144"),
    ("ISO_IR 126", "Διονυσιος^Ελένη", "iso_ir_126"),
    ("ISO_IR 127", "قباني^لنزار", "iso_ir_127"),
    ("ISO_IR 138", "שרון^דבורה", "iso_ir_138"),
    ("ISO_IR 13", "ﾔﾏﾀﾞﾉ^ﾀﾛｳｺ", "shift_jis"),
    (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう", "iso2022_jp"),
    (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동", "euc_kr"),
    ("GB18030", "Wang^XiaoDong=王^小东=", "gb18030"),
    ("ISO_IR 192", "Wáng^XiǎoDōng=王^小東=", "utf-8"),
]


@pytest.mark.parametrize(("charset", "name", "encoding"), SCRIPTS, ids=lambda value: str(value)[:14])
@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("converted", [False, True])
def test_names_in_every_script_are_gone_wherever_they_are(charset, name, encoding, implicit, converted):
    dataset = small(SpecificCharacterSet=charset, PatientName=name, StudyDescription=name, Manufacturer=name)
    item = Dataset()
    item.PatientName, item.CodeMeaning, item.ViewName = name, name.replace("=", " "), name.split("^")[0]
    dataset.AnatomicRegionSequence = Sequence([item])
    dataset.private_block(0x0011, "X", create=True).add_new(1, "PN", name)
    syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    original = as_read(dataset, syntax, converted=converted)
    clean = written(deidentify(original, KEY))
    parts = [part for group in name.split("=") for part in group.split("^") if len(part.encode(encoding)) > 3]
    assert parts
    assert not any(form in clean for part in parts for form in forms(part, encoding) | forms(part))
    assert dcmread(io.BytesIO(clean)).get("SpecificCharacterSet") is None


@pytest.mark.attack("a name in letters that a search may not know", held_by="the file's own character sets")
@pytest.mark.parametrize(("charset", "name", "encoding"), SCRIPTS, ids=lambda value: str(value)[:14])
@pytest.mark.parametrize("converted", [False, True])
def test_the_verifier_finds_names_of_every_script_in_their_own_bytes(charset, name, encoding, converted):
    original = as_read(small(SpecificCharacterSet=charset, PatientName=name), converted=converted)
    assert _found(original, name, encoding)


@pytest.mark.mutant("a name in letters that a search may not know", how="only Latin letters are looked for")
def test_a_verifier_that_knows_latin_letters_only_is_noticed(monkeypatch):
    monkeypatch.setattr(verifier, "forms", lambda text, _: {text.encode("latin-1", "ignore")} - {b""})
    charset, name, encoding = SCRIPTS[2]
    assert not _found(as_read(small(SpecificCharacterSet=charset, PatientName=name)), name, encoding)


def _found(original, name, encoding):
    """Whether the verifier finds a part of the name, in its own letters, among bytes of a look-up table."""
    part = max((part for group in name.split("=") for part in group.split("^")), key=len)
    clean = deidentify(as_read(small()), KEY)
    for keyword in ("PatientIdentityRemoved", "DeidentificationMethod"):
        delattr(clean, keyword)
    clean.RedPaletteColorLookupTableData = b"." + part.encode(encoding) + b"."
    try:
        verifier.verify(original, written(clean), KEY.shift("P-7788-1"))
    except Refused as refused:
        return refused.rule == "identifier-left"
    return False


@pytest.mark.parametrize("charset", ["ISO_IR 999", ["ISO 2022 IR 87", "NONSENSE"], "", "\\\\", "latin"])
@pytest.mark.parametrize("content", [b"\xff\xfe\x1b$B;3ED", b"M\xfcller^Anna", b"\x1b\x1b\x1b"])
def test_letters_that_nobody_can_read_are_gone_too(charset, content):
    dataset = small(SpecificCharacterSet=charset)
    dataset.add_new(0x00100010, "UN", content)
    clean = written(deidentify(as_read(dataset), KEY))
    assert content not in clean


# What stands there, and what stays of it.
WRONG = [
    *(("StudyDate", b"", ""), ("StudyDate", b"gestern", ""), ("StudyDate", b"2019", "")),
    *(("StudyDate", b"20191399", ""), ("StudyDate", b"00000000", ""), ("StudyDate", b"1899-01-01", "")),
    *(("AcquisitionDateTime", b"201903", ""), ("AcquisitionDateTime", b"\xff\xfe", "")),
    *(("PatientAge", b"alt", None), ("PatientAge", b"95", None), ("PatientAge", b"200Y", "090Y")),
    *(("PatientWeight", b"schwer", None), ("PatientWeight", b"NaN", None)),
    *(("InstanceNumber", b"eins", None), ("InstanceNumber", b"0x12", None)),
    *(("ImagePositionPatient", b"a\\b\\c", None), ("ImagePositionPatient", b"1\\2\\x", None)),
    *(("StudyTime", b"mittags", None), ("StudyTime", b"10:15:30", "101530")),
    *(("ImageType", b"m\xfcller", None), ("ImageType", b"A" * 100, None)),
    *(("Manufacturer", b"\xe5\xb1\xb1", None), ("Manufacturer", b"Tel 0555-8812034", None)),
    *(("PatientSex", b"F\\Zimmerquist^Hedwig", None),),
]


@pytest.mark.parametrize(("keyword", "content", "stays"), WRONG, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_values_that_are_not_what_their_attribute_asks_for_are_emptied_or_removed(
    keyword, content, stays, syntax
):
    dataset = small()
    tag = tag_for_keyword(keyword)
    vr, implicit = dictionary_VR(tag), syntax.is_implicit_VR
    dataset[tag] = RawDataElement(Tag(tag), vr, len(content), content, 0, implicit, True)
    clean = deidentify(as_read(dataset, syntax), KEY)
    assert clean.get(keyword) == stays


@pytest.mark.parametrize("dated", ["18500701", "10660701", "00991231", "99991231"])
def test_dates_of_any_century_move_by_the_same_days(dated):
    clean = deidentify(as_read(small(StudyDate=dated, SeriesDate="20200701")), KEY)
    moved = [date.fromisoformat(day) for day in (clean.StudyDate, clean.SeriesDate)]
    assert date.fromisoformat(dated) - moved[0] == date(2020, 7, 1) - moved[1] == KEY.shift("P-7788-1")


@pytest.mark.parametrize("keyword", ["Rows", "BitsAllocated", "PixelRepresentation", "HighBit"])
@pytest.mark.parametrize("content", [b"", b"\xff\xff", b"\0\0\0\0"])
def test_pixels_whose_shape_is_nonsense_are_refused_or_empty(keyword, content):
    dataset = small()
    tag = tag_for_keyword(keyword)
    dataset[tag] = RawDataElement(Tag(tag), "US", len(content), content, 0, False, True)
    assert all(tried(as_read(dataset))) is False


@pytest.mark.parametrize("vr", ["OB", "SQ", "US", "LT", "FD"])
@pytest.mark.parametrize("keyword", ["Modality", "PatientSex", "Manufacturer", "KVP", "StudyDate"])
def test_an_attribute_of_another_vr_than_its_own_is_removed(keyword, vr):
    values = {"OB": b"ab", "SQ": Sequence(), "US": 3, "LT": "text", "FD": 1.5}
    dataset = small()
    dataset.pop(keyword, None)
    dataset.add_new(tag_for_keyword(keyword), vr, values[vr])
    assert not deidentify(as_read(dataset), KEY).get(keyword)


def test_sequences_deeper_than_any_are_refused():
    dataset = inner = small()
    for _ in range(40):
        item = Dataset()
        inner.AnatomicRegionSequence = Sequence([item])
        inner = item
    with pytest.raises(Refused) as refused:
        deidentify(as_read(dataset), KEY)
    assert refused.value.rule in ("nested-too-deep", "unreadable")


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_bytes_that_have_rotted_are_refused_or_clean(data):
    content = bytearray(written(as_read(small(PatientName="Zimmerquist^Hedwig", StudyDate="20200101"))))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(132, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        with quiet("not-dicom", "the file"):
            original = dcmread(io.BytesIO(bytes(content)))
    except Refused:
        return
    clean, said = tried(original)
    assert "Zimmerquist" not in said
    assert b"Zimmerquist" not in clean
