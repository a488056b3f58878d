"""Only some of a cohort: by accession numbers, by studies, or by what an archive can look for."""

from datetime import date, datetime

import pytest
from ingest_hospital import given, pseudonyms

from client_app.data.fhir.consent import Decision
from client_app.data.fhir.gate import ConsentGate
from client_app.data.ingest.hospital import HospitalIngest
from client_app.data.ingest.named import identifiers_in, query, wanted
from client_app.data.pacs.source import Query, Wanted
from federation.errors import ConfigError, DataError
from federation.site_store import open_store
from tests.client_app.data.ingest.test_hospital import cohort

JANUARY = (datetime(2024, 1, 1), datetime(2024, 1, 31))
BESIDE = "a list brings in somebody who has said no"


@pytest.fixture
def lines(tmp_path):
    def write(*found):
        (tmp_path / "list.csv").write_text("\n".join(found), encoding="utf-8-sig")
        return tmp_path / "list.csv"

    return write


class TestFiles:
    @pytest.mark.parametrize(
        "found",
        [("ACC1", "ACC2"), ("", "ACC1 ", " ", "ACC2", ""), ("ACC1,Zoë", "ACC2,"), ("ACC1;a,b", '"ACC2";c')],
        ids=["lines", "empty lines", "a CSV", "with semicolons"],
    )
    def test_an_identifier_a_line_or_a_csvs_first_column(self, lines, found):
        assert identifiers_in(lines(*found)) == ("ACC1", "ACC2")

    @pytest.mark.parametrize("found", ["*", "ACC*", ",ACC1", "ACC1\\ACC2"])
    def test_what_could_be_several_studies_is_refused_without_being_said(self, lines, found):
        with pytest.raises(ConfigError, match="accession 2 of 2") as error:
            wanted(lines("ACC0", found), None, None)
        assert "ACC" not in str(error.value)

    def test_a_file_without_anything_is_not_all(self, lines):
        with pytest.raises(DataError, match="names nothing"):
            wanted(None, lines("", " "), None)

    def test_a_file_that_is_no_text_is_an_error(self, tmp_path):
        (tmp_path / "list.xlsx").write_bytes(b"PK\x03\x04\xff\xfe")
        with pytest.raises(DataError, match="lines of UTF-8"):
            identifiers_in(tmp_path / "list.xlsx")


class TestOptions:
    def test_nothing_named_is_all_of_the_cohort(self):
        assert wanted(None, None, query(None, None, None, None)) is None

    def test_a_modality_and_a_time_are_a_query(self):
        asked = query("CT", *JANUARY, "chest")
        assert (asked.modality, asked.since, asked.until) == ("CT", date(2024, 1, 1), date(2024, 1, 31))
        assert wanted(None, None, asked).query == asked

    def test_half_a_query_is_an_error(self):
        for half, lacking in (
            (("CT", None, None, None), "--since and --until"),
            ((None, *JANUARY, None), "--modality"),
            ((None, None, None, "chest"), "--modality and --since and --until"),
        ):
            with pytest.raises(ConfigError, match=f"belong together; give {lacking} too$"):
                query(*half)
        with pytest.raises(ConfigError, match="wildcard"):
            query("CT", *JANUARY, "*")

    def test_one_way_at_a_time(self, lines):
        with pytest.raises(ConfigError, match="--accessions and --studies are given; give one of them"):
            wanted(lines("ACC1"), lines("1.2.3"), None)


def some(hospital, said, count=2):
    return [study for study in hospital.pacs.studies if given(study) == said][:count]


def taken(settings, **named):
    """What an ingest of what is named came to, and the series in the store."""
    filled = HospitalIngest(settings).pacs(lambda _: None, named=Wanted(**named))
    assert not filled.refused
    return filled, {each.series: dict(each.features) for each in open_store(settings.store).series}


def names(settings, studies):
    return {pseudonyms(settings).uid(study.series_uid()) for study in studies}


@pytest.mark.attack(BESIDE, held_by="the cohort, in which everybody has been asked")
@pytest.mark.parametrize("by", ["accessions", "studies"])
def test_of_a_list_only_the_cohort_is_taken(hospital, tmp_path, by):
    settings = hospital.settings(tmp_path)
    yes, no = some(hospital, "permit"), some(hospital, "deny", 1)
    listed = [study.accession if by == "accessions" else study.uid for study in yes + no]
    filled, found = taken(settings, **{by: (*listed, "1.2.3.4", "1.2.3.5")})
    assert found.keys() == names(settings, yes)
    assert (filled.outside, filled.missing) == (1, 2)


@pytest.mark.mutant(BESIDE, how="whoever is on a list is taken to have agreed")
def test_a_list_that_stands_for_consent_is_noticed(hospital, tmp_path, monkeypatch):
    monkeypatch.setattr(
        ConsentGate, "_decide", lambda _, __, records, ___: Decision(True, "permitted", records)
    )
    settings, no = hospital.settings(tmp_path), some(hospital, "deny", 1)
    filled, found = taken(settings, studies=(no[0].uid,))
    assert found.keys() == names(settings, no)
    assert filled.outside == 0


def test_of_a_day_only_the_cohort_is_taken(hospital, tmp_path):
    settings = hospital.settings(tmp_path)
    day = some(hospital, "permit")[0].date
    of_the_day = [study for study in hospital.pacs.studies if study.date == day]
    yes = [study for study in of_the_day if given(study) == "permit"]
    asked = date(int(day[:4]), int(day[4:6]), int(day[6:]))
    filled, found = taken(settings, query=Query("CT", asked, asked, "Thorax"))
    assert found.keys() == names(settings, yes)
    assert (filled.outside, filled.missing) == (len(of_the_day) - len(yes), 0)


def test_what_is_named_adds_to_what_is_there_and_takes_up_what_the_record_says_now(hospital, tmp_path):
    settings = hospital.settings(tmp_path)
    first, second = some(hospital, "permit")
    taken(settings, studies=(first.uid,))
    _, before = taken(settings, studies=(second.uid,))
    [one], [other] = names(settings, [first]), names(settings, [second])
    assert before.keys() == {one, other}
    changed = hospital.settings(tmp_path, cohort=cohort(tmp_path, "features.diameter_mm.maximum=1"))
    _, after = taken(changed, studies=(first.uid,))
    assert (
        after[one]
        == {name: value for name, value in before[one].items() if name != "diameter_mm"}
        != before[one]
    )
    assert after[other] == before[other]
