"""Real processes, killed by strace at real fsyncs; of a power cut see ``test_power_cuts``."""

from itertools import count

import pytest
from promises import CUT, HELD_BY, broken_promises

CALLS = ("fsync", "fdatasync")  # Python's, and SQLite's


@pytest.mark.deployment
@pytest.mark.attack(CUT, held_by=HELD_BY)
@pytest.mark.parametrize("call", CALLS)
def test_a_custodian_that_was_killed_keeps_its_promises(call, day, kill_at):
    killed = kill_at(call, 25)
    assert len(killed.said) > 1
    assert broken_promises(day.lived, killed.folder, killed.said, go_on=True) == []


@pytest.mark.deployment
@pytest.mark.attack(CUT, held_by=HELD_BY)
@pytest.mark.parametrize("call", CALLS)
def test_wherever_it_is_killed(call, day, kill_at):
    for number in count(1, 3):
        killed = kill_at(call, number)
        if killed is None:
            break
        assert broken_promises(day.lived, killed.folder, killed.said, go_on=number % 2 == 0) == [], number
    assert number > 40, "the whole day was tried"
