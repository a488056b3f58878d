import io

import pytest
from rich.console import Console

from federation.errors import ConfigError, RunError
from server_app.control import RunStatus
from server_app.progress import Began, Ended, line_of
from server_app.record import Absence, RoundLine
from server_app.watch import Outcome, watch
from server_app.watch_view import WatchView

BEGAN = Began(
    run="flower-3", study="lungs", study_id="ab" * 32, rounds=3, hospitals=("alder", "birch"), absent=()
)


def a_round(number, *participants, lost="", **absent):
    return RoundLine(
        round=number,
        seconds=1.5,
        participants=participants,
        absent=tuple(Absence(site=site, reason=reason) for site, reason in absent.items()),
        epsilon={"alder": 0.5 * number, "birch": 0.25},
        model_sha256="0" * 64,
        lost=lost,
    )


def line(event):
    return f"INFO :      {line_of(event)}\n"


class Scripted:
    """A coordinator that answers as it is written: a status each time it is asked, and pieces of a log."""

    def __init__(self, statuses, log=()):
        self.statuses = list(statuses)
        self.pieces = list(log)

    def status(self, run):
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if isinstance(status, Exception):
            raise status
        return status

    def log(self, run, after):
        """Time is the number of the piece; after a piece that is an error the way is broken."""
        for number in range(int(after), len(self.pieces)):
            piece = self.pieces[number]
            if isinstance(piece, Exception):
                self.pieces[number] = ""
                raise piece
            yield piece, number + 1.0


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    monkeypatch.setattr("server_app.watch._PAUSE", 0.0)
    monkeypatch.setattr("server_app.watch._SHORT_PAUSE", 0.0)


@pytest.fixture
def see():
    """Watch ``control``; returns the outcome and the lines that were shown."""

    def see(control, patience=60.0, terminal=False):
        shown = io.StringIO()
        console = Console(file=shown, force_terminal=terminal, width=100, highlight=False, soft_wrap=True)
        with WatchView(7, console) as view:
            outcome = watch(control, 7, view, patience)
            view.ended(outcome)
        return outcome, shown.getvalue().splitlines()

    return see


RUNNING, COMPLETED = RunStatus("running"), RunStatus("completed")


def test_it_tells_who_takes_part_what_it_has_cost_and_who_is_absent_once(see):
    log = [
        line(BEGAN),
        line(a_round(1, "alder", birch="late (reference 1)")),
        line(a_round(2, "alder", birch="late (reference 2)")),
        line(a_round(3, "alder", "birch")),
        line(Ended(status="completed", reason="", model_version="lungs-final-1")),
    ]
    outcome, shown = see(Scripted([RUNNING, COMPLETED], log))
    assert outcome.exit_code == 0
    assert shown == [
        "run 7 is under way",
        "study lungs (abababababab): alder, birch",
        "round 1/3  ε so far 0.50  1.5 s  alder",
        "round 1/3 without birch: late",
        "round 2/3  ε so far 1.00  1.5 s  alder",
        "round 3/3  ε so far 1.50  1.5 s  alder, birch",
        "round 3/3 with birch again",
        "completed: model lungs-final-1",
    ]


def test_a_lost_round_says_why(see):
    _, shown = see(Scripted([COMPLETED], [line(BEGAN), line(a_round(1, lost="nobody came"))]))
    assert "round 1/3 came to nothing: nobody came" in shown


def test_a_terminal_shows_a_bar_instead_of_a_line_a_round(see):
    _, shown = see(Scripted([COMPLETED], [line(BEGAN), line(a_round(2, "alder"))]), terminal=True)
    text = "\n".join(shown)
    assert "2/3" in text
    assert "ε so far 1.00" in text
    assert "1.5 s" not in text


@pytest.mark.parametrize("state", ["failed", "stopped"])
def test_whatever_the_log_says_the_end_is_what_flower_says(see, state):
    log = [
        line(BEGAN),
        line(a_round(1, "alder")),
        line(Ended(status="completed", reason="", model_version="x")),
    ]
    outcome, shown = see(Scripted([RunStatus(state, "its process died")], log))
    assert outcome.exit_code == 1
    assert shown[-2:] == [
        f"{state} after round 1: its process died",
        '--run-config overrides="resume=flower-3" goes on from there',
    ]


def test_a_way_that_breaks_is_said_and_nothing_is_told_twice(see):
    gone = RunError("nobody answers")
    log = [line(BEGAN) + line(a_round(1, "alder"))[:30], gone, line(a_round(1, "alder"))[30:]]
    outcome, shown = see(Scripted([RUNNING, gone, gone, RUNNING, COMPLETED], log))
    assert outcome.state == "completed"
    assert [text for text in shown if "answer" in text] == [
        "nobody answers; trying on for 60 s",
        "the coordinator answers again",
    ]
    assert sum("round 1/3" in text for text in shown) == 1


def test_a_way_that_stays_broken_is_given_up(see):
    outcome, shown = see(Scripted([RunError("nobody answers")]), patience=0.0)
    assert outcome.exit_code == 2
    assert shown[-1] == "unknown: nobody answers"


def test_a_run_that_is_not_there_is_not_waited_for(see):
    outcome, _ = see(Scripted([ConfigError("run 7 is none")]))
    assert outcome == Outcome("unknown", "run 7 is none")
    assert outcome.exit_code == 2


def test_what_a_hospital_says_moves_no_cursor(see):
    _, shown = see(Scripted([COMPLETED], [line(BEGAN), line(a_round(1, "alder", birch="\x1b[2J[bold]no"))]))
    assert "round 1/3 without birch: \N{REPLACEMENT CHARACTER}[2J[bold]no" in shown
