"""Entries of the list of opt-outs that have met nobody: told by their line, never by what stands there."""

import pytest

from client_app.books.findings import sound
from client_app.data.opt_outs import OptOuts, Unmet
from federation.errors import DataError


@pytest.fixture
def listed(tmp_path):
    def written(*numbers):
        file = tmp_path / "opt_outs.csv"
        file.write_text("patient\n" + "".join(f"{number}\n" for number in numbers))
        return OptOuts(file)

    return written


def test_an_entry_has_met_whoever_it_was_asked_of_however_the_number_is_written(listed):
    opt_outs = listed("0042", "A7", "B8", "42")
    assert opt_outs.has(["42"])
    assert opt_outs.has(["other", " a7 "])
    assert not opt_outs.has(["C9"])
    assert opt_outs.unmet("here") == Unmet((4,), 4, "here")


def test_who_was_known_before_is_met_as_well(listed):
    opt_outs = listed("A7", "B8")
    assert opt_outs.unmet("here", {"a7"}.__contains__).lines == (3,)


def test_lines_are_those_of_the_file_whatever_stands_between(tmp_path):
    file = tmp_path / "opt_outs.csv"
    file.write_text('note,patient\n\n"two\nlines",A7\n,B8\n')
    assert OptOuts(file).unmet("here").lines == (4, 5)


def test_it_is_a_notice_without_numbers_and_no_problem(listed):
    opt_outs = listed("ZIMMERQUIST", "A7")
    opt_outs.has(["A7"])
    unmet = opt_outs.unmet("in the cohort")
    [finding] = unmet.findings()
    assert (
        finding.found == "entries of the list of opt-outs that match nobody in the cohort: 1 of 2, in line 2"
    )
    assert finding.state == "warning"
    assert "compare with the record how the number is written" in finding.remedy
    assert sound([finding])
    assert not any("zimmerquist" in f"{each} {each!r}".casefold() for each in (unmet, opt_outs, finding))


def test_where_all_have_met_somebody_nothing_is_to_do(listed):
    opt_outs = listed("A7")
    opt_outs.has(["A7"])
    [finding] = opt_outs.unmet("in the cohort").findings()
    assert (finding.state, finding.remedy) == ("ok", "")
    assert finding.found.endswith("0 of 1")


def test_of_many_lines_the_first_are_told(listed):
    said = str(listed(*range(100, 400)).unmet("here"))
    assert said.endswith("300 of 300, in line 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 290 more")


def test_no_list_is_a_list_of_nobody(tmp_path):
    assert OptOuts(None).unmet("here").findings() == ()
    with pytest.raises(DataError, match="cannot be read"):
        OptOuts(tmp_path / "none.csv")
