import getpass

import pytest

from federation.errors import ConfigError, DataError
from federation.messages import TrainReply

PATIENT = "Erika Mustermann"


@pytest.fixture
def running(make_study, propose, typed, train):
    """A study that has trained one round with all 24 patients."""
    study = propose(make_study(expires="2999-12-31"))
    typed("study", "approve", study.id, "--by", "Dr. Frei")
    assert isinstance(train(study), TrainReply)
    return study


@pytest.fixture
def write(tmp_path):
    def written(content):
        path = tmp_path / "patients.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return written


def taking_part(custodian):
    return set(custodian._opened.takers.learning.identities)


def withdrawn(custodian):
    return [entry for entry in custodian.audit.entries() if entry.event == "withdrawn"]


def test_the_next_round_of_a_running_study_is_without_them(typed, running, train, custodian):
    assert {"0-3", "0-7"} <= taking_part(custodian)
    said = typed("consent", "withdraw", "0-3", "0-7", PATIENT, "--by", "Dr. Frei")
    assert "all 3 named, 3 of them for the first time" in said
    assert "1 of them were never in a study here" in said
    assert "does not hold for them" in said
    assert PATIENT not in said
    assert isinstance(train(running, 2), TrainReply)
    assert not {"0-3", "0-7"} & taking_part(custodian)
    assert len(taking_part(custodian)) == 22


@pytest.mark.parametrize(
    "content",
    [
        "patient\n0-3\n0-7\n",
        "born;patient\r\n1950;0-3\r\n1960; 0-7 \r\n\r\n",
        '\ufeffpatient,note\n"0-3","a ""note"",\nof two lines"\n0-7,\n',
    ],
    ids=["one column", "semicolons and CRLF", "as a spreadsheet writes it"],
)
def test_a_file_names_them_in_the_column_patient(content, typed, write, running, custodian):
    said = typed("consent", "withdraw", "--csv", str(write(content)))
    assert said == "withdrawn: all 2 named, 2 of them for the first time\n"
    (entry,) = withdrawn(custodian)
    assert (entry.actor, entry.facts) == (getpass.getuser(), {"patients": 2})


def test_to_say_it_again_changes_nothing(typed, custodian):
    typed("consent", "withdraw", "0-3")
    assert "all 1 named, 0 of them for the first time" in typed("consent", "withdraw", "0-3")
    assert [entry.facts["patients"] for entry in withdrawn(custodian)] == [1, 0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (f"{PATIENT}\n{PATIENT}\n", "line 1: it names the columns, and one of them must be patient"),
        ("", "patients.csv is empty; its first line has to be patient"),
        ("\ufeff\r\n", "patients.csv is empty; its first line has to be patient"),
        ("patient,patient\na,b\n", "line 1: it names the columns"),
        (f"patient,born\n{PATIENT},1950\n  ,1960\n", "line 3: no patient"),
        (f"patient,born\n{PATIENT}\n", "line 2: no patient, or not 2 columns"),
        ("patient,born\nMustermann, Erika,1950\n", "line 2: no patient, or not 2 columns"),
        (f'patient\n"{PATIENT}\n', "line 2: this is no CSV"),
        ("patient\n0-3\n1.23457E+11\n", "line 3: a spreadsheet has changed the number"),
        ('patient;born\n"1,23457E+11";1950\n', "line 2: a spreadsheet has changed the number"),
        ('patient\n"=""0012"""\n', "line 2: a spreadsheet has changed the number"),
        ("patient\n'0012\n", "line 2: a spreadsheet has changed the number"),
        ("patient\n########\n", "line 2: a spreadsheet has changed the number"),
        (f"patient\nM\xfcstermann {PATIENT}\n".encode("latin-1"), "is no UTF-8"),
    ],
)
def test_a_file_that_is_wrong_is_told_by_its_line_and_nobody_is_named(content, said, typed, write, custodian):
    with pytest.raises(DataError) as error:
        typed("consent", "withdraw", "--csv", str(write(content)))
    assert said in str(error.value)
    assert "ustermann" not in str(error.value)
    assert custodian.ledger.consent.withdrawn == frozenset(), "not even those before the line"


def test_a_file_that_is_not_there_is_named(typed, tmp_path):
    with pytest.raises(DataError, match=r"none\.csv cannot be read \(No such file .*\); see to its path"):
        typed("consent", "withdraw", "--csv", str(tmp_path / "none.csv"))


def test_nobody_is_not_a_withdrawal(typed):
    with pytest.raises(ConfigError, match=r"give PATIENT... or --csv FILE"):
        typed("consent", "withdraw")


def test_a_name_that_cannot_be_one_is_not_repeated(typed):
    with pytest.raises(ConfigError) as error:
        typed("consent", "withdraw", PATIENT * 100)
    assert "patients.0: String should have at most 1000 characters" in str(error.value)
    assert PATIENT not in str(error.value)
