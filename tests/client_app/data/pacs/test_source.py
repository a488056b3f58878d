"""What may be asked of an archive, and that nothing of it shows."""

from datetime import date
from types import SimpleNamespace

import pytest

from client_app.data.pacs import answers, source
from client_app.data.pacs.archive import archive
from client_app.data.pacs.source import Query, StudyRef, Wanted
from client_app.data.refusal import Refused
from federation.errors import ConfigError

A_WHOLE_HOSPITAL = "a wildcard for an accession number or a UID"
JANUARY = {"since": date(2024, 1, 1), "until": date(2024, 1, 31)}

MANY_THINGS = {
    "nothing": "",
    "a space": " ",
    "everything": "*",
    "whoever begins so": "ACC*",
    "any one character": "ACC4000?",
    "a list": "ACC40000\\ACC40001",
    "a list of DICOMweb": "ACC40000,ACC40001",
    "the empty value": '""',
    "another parameter": "ACC40000&limit=9",
    "a line more": "ACC40000\n",
    "a wide asterisk": "\uff0a",
    "a space behind, which archives cut off": "ACC40000 ",
    "too long": "A" * 65,
}


class TestWanted:
    @pytest.mark.attack(A_WHOLE_HOSPITAL, held_by="an alphabet in which nothing stands for several studies")
    @pytest.mark.parametrize("accession", [pytest.param(text, id=name) for name, text in MANY_THINGS.items()])
    def test_an_accession_that_may_be_several_is_refused(self, accession):
        with pytest.raises(ConfigError) as error:
            Wanted(accessions=("ACC40002", accession))
        assert "accession 2 of 2" in str(error.value) or "nothing is asked for" in str(error.value)
        assert "ACC4000" not in str(error.value)

    @pytest.mark.attack(A_WHOLE_HOSPITAL, held_by="an alphabet in which nothing stands for several studies")
    @pytest.mark.parametrize(
        "uid", ["", "*", "1.2.*", "1.2\\1.3", "1.2,1.3", "1..2", ".1", "1.", "1.2/../3", "9" * 65]
    )
    def test_a_study_that_may_be_several_is_refused(self, uid):
        with pytest.raises(ConfigError, match="study 1 of 1"):
            Wanted(studies=(uid,))

    @pytest.mark.mutant(A_WHOLE_HOSPITAL, "sends accession numbers as they stand, and takes what comes")
    @pytest.mark.parametrize(("way", "accession"), [("get", "*"), ("get", ""), ("dicomweb", "")])
    def test_as_it_stands_it_is_the_whole_hospital(self, pacs, way, accession, monkeypatch):
        monkeypatch.setattr(source, "_ACCESSION", SimpleNamespace(fullmatch=lambda _: True))
        monkeypatch.setattr(answers.Question, "asked_for", lambda *_: True)
        monkeypatch.setattr(answers.Question, "at_most", 1000)
        with archive(pacs.settings(way)) as source_:
            assert len(list(source_.find(Wanted(accessions=(accession,))))) == len(pacs.studies)

    @pytest.mark.parametrize("way", ["dicomweb", "get"])
    def test_one_that_slipped_through_is_still_nobodys_accession(self, pacs, way, monkeypatch):
        monkeypatch.setattr(source, "_ACCESSION", SimpleNamespace(fullmatch=lambda _: True))
        with archive(pacs.settings(way)) as source_:
            assert list(source_.find(Wanted(accessions=("*",)))) == []

    @pytest.mark.parametrize(
        "wanted",
        [
            {},
            {"accessions": ("A1",), "studies": ("1.2",)},
            {"studies": ("1.2",), "query": Query("CT", **JANUARY)},
        ],
    )
    def test_one_thing_is_asked_for(self, wanted):
        with pytest.raises(ConfigError, match="is asked for; give one of"):
            Wanted(**wanted)

    @pytest.mark.parametrize("accession", ["ACC40000", "2024/0815-3", "R 17.4", "0"])
    def test_what_hospitals_write_is_taken(self, accession):
        assert Wanted(accessions=(accession,)).accessions == (accession,)


class TestQuery:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"modality": ""},
            {"modality": "*"},
            {"modality": "CT\\MR"},
            {"until": date(2023, 12, 31)},
            {"description": "*"},
            {"description": "tho?ax"},
            {"at_most": 0},
            {"at_most": 10**9},
        ],
    )
    def test_without_an_end_it_is_refused(self, wrong):
        with pytest.raises(ConfigError):
            Query(**({"modality": "CT"} | JANUARY | wrong))

    def test_it_needs_a_modality_and_two_days(self):
        with pytest.raises(TypeError):
            Query("CT")


class TestStudyRef:
    def test_it_shows_nobody(self):
        assert repr(StudyRef("1.2.3", "ACC40000")) == "StudyRef(...)"
        assert "40000" not in repr(Wanted(accessions=("ACC40000",)))
        assert "1.2.3" not in repr(Wanted(studies=("1.2.3",)))

    @pytest.mark.parametrize("uid", ["", "../../etc", "1.2/3", "1.2\0", "1." * 40 + "1", "\uff11.\uff12"])
    def test_a_uid_that_is_none_is_refused_without_being_told(self, uid):
        with pytest.raises(Refused) as refusal:
            StudyRef(uid)
        assert refusal.value.rule == "bad-uid"
        assert not uid or uid not in str(refusal.value)
