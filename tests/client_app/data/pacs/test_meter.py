"""How fast things may come, and what is told of it."""

import pytest

from client_app.data.pacs.meter import Meter, Progress
from client_app.data.pacs.settings import Rate


class Clock:
    """Time passes when somebody sleeps."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


def test_studies_are_spread_over_a_minute(clock):
    meter = Meter(Rate(studies_per_minute=30), clock=clock, sleep=clock.sleep)
    begun = []
    for _ in range(4):
        meter.study()
        begun.append(clock.now)
    assert begun == [100, 102, 104, 106]


def test_bytes_come_as_fast_as_they_may_on_average(clock):
    meter = Meter(Rate(megabytes_per_second=2), clock=clock, sleep=clock.sleep)
    for size in (1_000_000, 10, 3_000_000, 999_990):
        meter.came(size)
    assert clock.now == pytest.approx(102.5)


def test_a_pause_is_not_made_up_for(clock):
    meter = Meter(Rate(megabytes_per_second=1, studies_per_minute=60), clock=clock, sleep=clock.sleep)
    meter.study()
    clock.sleep(1000)
    for _ in range(3):
        meter.study()
        meter.came(1_000_000)
    assert clock.now == pytest.approx(1103)


def test_without_a_limit_nobody_waits(clock):
    meter = Meter(Rate(), clock=clock, sleep=clock.sleep)
    for _ in range(10):
        meter.study()
        meter.came(10**9)
    assert clock.now == 100


def test_counts_are_told_and_nothing_else():
    told = []
    meter = Meter(Rate(), told.append)
    meter.study()
    meter.kept(100)
    meter.kept(50)
    meter.left_out(0)
    meter.left_out(2)
    assert told[-1] == Progress(studies=1, instances=2, size=150, left_out=2)
    assert len(told) == 4
