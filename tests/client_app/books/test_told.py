import pytest

from client_app.books.told import told
from federation.command_line import printable


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "fewer than 20"),
        (1, "fewer than 20"),
        (19, "fewer than 20"),
        (20, "about 20"),
        (24, "about 20"),
        (119, "about 120"),
        (1234, "about 1,230"),
    ],
)
def test_patients_are_told_in_tens_and_few_of_them_not_at_all(count, said):
    assert told(count, 20) == said


def test_one_patient_more_or_less_seldom_shows():
    assert told(119, 20) == told(120, 20) == told(121, 20)


def test_a_minimum_that_is_no_ten_is_never_gone_below():
    assert told(23, 23) == "about 23"


def test_what_moves_a_cursor_is_left_out():
    assert printable("Größe\x1b[2J\r\n\u202eok") == "Größe\ufffd[2J\ufffd\ufffd\ufffdok"
