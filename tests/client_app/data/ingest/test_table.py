"""A CSV of images: what a hospital may write in it, and that it names nobody to the store."""

import pytest

from client_app.data.ingest import table
from client_app.data.ingest.table import rows_of
from federation.errors import DataError

NAMED = "a column that names patients becomes a feature in the store"


@pytest.fixture
def read(tmp_path):
    def read(*rows, head="file,patient,label"):
        (tmp_path / "images.csv").write_text("\n".join([head, *rows]), encoding="utf-8-sig")
        return rows_of(tmp_path / "images.csv")

    return read


def test_each_further_column_is_a_feature_and_what_is_empty_is_not_known(read):
    one, other = read("a.png,P1,ill,1,2.5", "", "b/c.png,Müller,,2,3", head="file,patient,label,grade,size")
    assert (one.number, one.file, one.patient) == (2, "a.png", "P1")
    assert one.features == {"label": "ill", "grade": 1, "size": 2.5}
    assert other.features == {"grade": 2, "size": 3.0}
    assert isinstance(other.features["size"], float)
    assert "Müller" not in repr(other)


def test_a_column_is_of_numbers_only_where_all_are(read):
    one, other = read("a.png;P1;1;0", "b.png;P2;1b;1", head="file;patient;stage;label")
    assert one.features == {"stage": "1", "label": 0}
    assert other.features["stage"] == "1b"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "no rows"),
        (["a.png,P"], "row 2 of .* lacks"),
        (["a.png, ,x"], "row 2 of .* lacks"),
        (["a.png,P,x", "a.png,P,x"], "row 3 of .* names a file that a row above names"),
        (["a.png,p01,x", "b.png,P01,x"], "row 3 of .* writes a patient otherwise"),
        (["a.png,Smith\t1,x"], "row 2 of .* cannot be printed"),
        (["a.png,Smith,NaN"], "column 3 of .* a number that is none"),
    ],
)
def test_a_table_that_is_not_whole_is_an_error(read, rows, said):
    with pytest.raises(DataError, match=said) as error:
        read(*rows)
    assert "Smith" not in str(error.value)


@pytest.mark.parametrize("head", ["file,label", "patient,label", "file,patient,patient", "Smith,Jones,Doe"])
def test_a_table_without_its_columns_is_an_error(read, head):
    with pytest.raises(DataError, match="columns file and patient once"):
        read("a,b,c", head=head)


def test_a_heading_that_no_study_could_name_is_an_error_without_being_said(read):
    with pytest.raises(DataError, match="lowercase letters") as error:
        read("a.png,P,x", head="file,patient,John Smith")
    assert "Smith" not in str(error.value)


@pytest.mark.parametrize("name", ["name", "family_name", "mrn", "date_of_birth"])
def test_a_heading_that_says_who_somebody_is_is_refused(read, name):
    with pytest.raises(DataError, match=r"column 3 of .* says who somebody is"):
        read("a.png,P,x", head=f"file,patient,{name}")


COLUMNS = {
    "names": [f"Smith{chr(97 + number)}" for number in range(26)],
    "dates": ["17.04.1932"] + [""] * 25,
    "dates as DICOM has them": ["19320417"] + [""] * 25,
    "accession numbers": [f"ACC{400_000 + number}" for number in range(26)],
    "the numbers of the patients": [f"P{number}" for number in range(26)],
    "names of patients with two images": [f"Smith{chr(97 + number // 2)}" for number in range(26)],
    "case numbers": [f"{48_000 + number}" for number in range(26)],
    "notes": ["seen by " + "Dr. Smith " * 10] + [""] * 25,
}


@pytest.mark.attack(NAMED, held_by="features are few kinds or numbers, and no dates")
@pytest.mark.parametrize("column", [pytest.param(each, id=name) for name, each in COLUMNS.items()])
def test_a_column_that_may_name_somebody_is_refused_without_being_said(read, column):
    with pytest.raises(DataError, match=r"column 3 of .* may name patients") as error:
        read(*(f"{number}.png,P{number},{text}" for number, text in enumerate(column)))
    assert not any(text in str(error.value) for text in column if text)


@pytest.mark.mutant(NAMED, how="any number of kinds is a feature")
def test_a_table_that_takes_any_text_is_noticed(read, monkeypatch):
    monkeypatch.setattr(table, "_FEW_KINDS", 1000)
    monkeypatch.setattr(table, "_MOST_KINDS", 1000)
    rows = read(*(f"{number}.png,P{number},{text}" for number, text in enumerate(COLUMNS["names"])))
    assert rows[0].features == {"label": "Smitha"}
