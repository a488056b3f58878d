"""What is not taken, each by its name, before anything is cleaned."""

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID_dictionary

from client_app.data.deidentify.admission import admit
from client_app.data.deidentify.options import Options
from client_app.data.deidentify.profile import deidentify
from client_app.data.refusal import Refused

NAMED = {entry[0]: uid for uid, entry in UID_dictionary.items() if entry[1] == "SOP Class"}


def rule_of(dataset, options=Options()):  # noqa: B008 - frozen
    with pytest.raises(Refused) as refused:
        admit(dataset, options)
    assert "Zimmerquist" not in str(refused.value)
    return refused.value.rule


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        *(("Basic Text SR Storage", "structured-report"), ("Enhanced SR Storage", "structured-report")),
        *(("X-Ray Radiation Dose SR Storage", "structured-report"),),
        *(("Key Object Selection Document Storage", "structured-report"),),
        *(("Encapsulated PDF Storage", "encapsulated-document"),),
        *(("Encapsulated CDA Storage", "encapsulated-document"),),
        *(("Grayscale Softcopy Presentation State Storage", "presentation-state"),),
        *(("12-lead ECG Waveform Storage", "waveform"), ("Standalone Overlay Storage", "overlay-or-curve")),
        *(("Video Endoscopic Image Storage", "video"), ("RT Plan Storage", "not-an-image")),
        *(("Raw Data Storage", "not-an-image"), ("RT Structure Set Storage", "not-an-image")),
        *(("Media Storage Directory Storage", "not-an-image"),),
    ],
)
def test_what_is_text_or_no_image_is_refused_by_its_kind(name, rule, ct):
    assert rule_of(ct(SOPClassUID=NAMED[name])) == rule


@pytest.mark.parametrize("uid", ["1.2.840.113619.4.30", "", "1.2.840.10008.1.2.1"])
def test_a_class_that_is_not_the_standards_is_refused(uid, ct):
    assert rule_of(ct(SOPClassUID=uid)) == "unknown-sop-class"


@pytest.mark.parametrize(
    "name",
    [
        *("Ultrasound Image Storage", "Ultrasound Multi-frame Image Storage"),
        *("Secondary Capture Image Storage", "Multi-frame True Color Secondary Capture Image Storage"),
        *("X-Ray Angiographic Image Storage", "X-Ray Radiofluoroscopic Image Storage"),
        *("Nuclear Medicine Image Storage", "VL Photographic Image Storage"),
        *("VL Whole Slide Microscopy Image Storage", "Ophthalmic Photography 8 Bit Image Storage"),
    ],
)
def test_kinds_that_often_have_text_in_their_pixels_are_kept_back(name, ct):
    options = Options(trust_annotation=True)
    assert rule_of(ct(SOPClassUID=NAMED[name])) == "quarantined-class"
    assert rule_of(ct(SOPClassUID=NAMED[name], BurnedInAnnotation="NO")) == "quarantined-class"
    assert rule_of(ct(SOPClassUID=NAMED[name]), options) == "quarantined-class"
    admit(ct(SOPClassUID=NAMED[name], BurnedInAnnotation="NO"), options)


@pytest.mark.parametrize("said", ["YES", "yes", "?", "MAYBE"])
def test_an_image_that_says_it_has_text_in_it_is_refused_whoever_is_trusted(said, ct):
    options = Options(trust_annotation=True)
    assert rule_of(ct(BurnedInAnnotation=said), options) == "burned-in-annotation"


@pytest.mark.parametrize(
    "said", [["DERIVED", "SECONDARY", "SCREEN SAVE"], ["DERIVED", "SECONDARY", "DOSE_INFO"]]
)
def test_a_screenshot_that_calls_itself_a_ct_is_refused(said, ct):
    assert rule_of(ct(ImageType=said)) == "screenshot"


@pytest.mark.parametrize("colours", ["RGB", "YBR_FULL_422", "PALETTE COLOR"])
def test_a_ct_in_colour_is_a_screenshot(colours, ct):
    assert rule_of(ct(PhotometricInterpretation=colours)) == "screenshot"


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
@pytest.mark.parametrize("value", [None, ""])
def test_without_a_uid_it_cannot_be_told_apart(keyword, value, ct):
    assert rule_of(ct(**{keyword: value})) == "no-uid"


@pytest.mark.parametrize("value", [None, "", " "])
def test_without_a_patient_nobody_knows_how_far_to_shift(value, ct):
    assert rule_of(ct(PatientID=value)) == "no-patient-id"


HEADS = {
    "BodyPartExamined": ("HEAD", "BRAIN", "SKULL", "HEADNECK", "ORBIT", "WHOLEBODY"),
    "StudyDescription": (
        *(
            "CT Schädel nativ",
            "Gehirn",
            "IRM cérébrale: tête",
            "TAC cráneo",
            "снимок головы",
            "頭部CT",
            "뇌 MRI",
        ),
        *("cCT HEAD_ROUTINE", "MR Neuro", "NNH Sinus"),
    ),
    "SeriesDescription": ("t1_mprage_brain", "INNER EAR", "facial bones"),
    "ProtocolName": ("Head^Routine",),
}


@pytest.mark.parametrize("modality", ["CT", "MR", "PT"])
@pytest.mark.parametrize(("keyword", "text"), [(key, text) for key, texts in HEADS.items() for text in texts])
def test_a_head_is_refused_in_many_a_language_and_taken_where_it_is_allowed(modality, keyword, text, ct):
    dataset = ct(SpecificCharacterSet="ISO_IR 192", Modality=modality, **{keyword: text})
    assert rule_of(dataset) == "head"
    admit(dataset, Options(allow_heads=True))


def test_a_head_that_is_taken_says_that_it_can_be_recognised(ct, through):
    assert through(ct(BodyPartExamined="HEAD"), Options(allow_heads=True)).RecognizableVisualFeatures == "YES"
    assert "RecognizableVisualFeatures" not in through(ct(RecognizableVisualFeatures="NO"))


def test_a_coded_head_is_a_head(ct):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "69536005", "SCT", "Head"
    assert rule_of(ct(AnatomicRegionSequence=Sequence([item]))) == "head"


@pytest.mark.parametrize("text", ["Chest", "Abdomen", "Thorax nativ", "Knie links", "CTA Aorta"])
def test_what_is_no_head_is_taken(text, ct):
    admit(ct(StudyDescription=text), Options())


def test_a_radiograph_of_a_head_has_no_face(ct):
    admit(
        ct(
            SOPClassUID=NAMED["Digital X-Ray Image Storage - For Presentation"],
            Modality="DX",
            BodyPartExamined="SKULL",
        ),
        Options(),
    )


@pytest.mark.parametrize("uid", ["../../../etc/cron.d/x", "1.2/3", "~1.2", "C:1.2"])
@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"])
def test_a_uid_that_is_a_path_is_refused(uid, keyword, ct, pseudonyms):
    with pytest.raises(Refused) as refused:
        deidentify(ct(**{keyword: uid}), pseudonyms)
    assert refused.value.rule == "uid"
