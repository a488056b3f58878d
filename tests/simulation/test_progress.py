"""What whoever waits for a simulation is told."""

import numpy as np
import pytest

from federation.config import compose_run
from server_app.record import RoundLine
from simulation.progress import Display


@pytest.fixture
def told(capsys):
    """What is said of a round, as plain lines or above a drawn bar."""

    def tell(progress="plain", **changes):
        line = RoundLine(
            round=7,
            seconds=1.5,
            participants=("alder", "birch"),
            absent=(),
            epsilon={"alder": 2.5},
            model_sha256="0" * 64,
        )
        with Display(compose_run([f"progress={progress}"]).options, lambda: None) as display:
            display.round_finished(line.model_copy(update=changes), np.zeros(1, dtype=np.float32))
        return capsys.readouterr().out

    return tell


def test_a_lost_round_is_said_with_its_reason(told):
    assert "round 7/0 came to nothing: nobody came\n" in told(lost="nobody came", participants=())


def test_above_a_drawn_bar_it_is_said_as_well(told, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert "came to nothing: nobody came" in told("auto", lost="nobody came", participants=())


def test_any_other_round_says_who_took_part(told):
    said = told()
    assert "ε so far 2.50" in said
    assert "alder, birch" in said
    assert "nothing" not in said
