"""A run that Flower stops, or that fails, as its process leaves it."""

import io
import logging
import signal

import pytest

from federation.errors import QuorumError
from federation.flower_runtime import _reason_alone, _record_first


@pytest.fixture
def order():
    """What happens on SIGINT, which ``flwr stop`` ends in, with a handler in the place of Flower's."""
    happened = []
    before = signal.signal(signal.SIGINT, lambda *_: happened.append("flower's exit"))
    yield happened
    signal.signal(signal.SIGINT, before)


def stopped_study(order):
    try:
        signal.raise_signal(signal.SIGINT)
    except SystemExit:
        signal.raise_signal(signal.SIGINT)  # asked again, it still finishes
        order.append("record")
        raise


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_whoever_stops_a_run_its_handlers_are_as_before(number):
    before = signal.getsignal(number)
    with _record_first():
        assert signal.getsignal(number) != before
    assert signal.getsignal(number) == before


def test_the_record_of_a_stopped_run_comes_before_flowers_exit(order):
    with pytest.raises(SystemExit), _record_first():
        stopped_study(order)
    assert order == ["record", "flower's exit"]


def test_without_that_flower_exits_first(order):
    """Its exit ends the process after five seconds, whatever it is doing."""
    stopped_study(order)
    assert order == ["flower's exit"]


def shown(error):
    log, text = logging.Logger("flwr"), io.StringIO()
    log.addHandler(logging.StreamHandler(text))
    log.addFilter(_reason_alone)
    try:
        raise error
    except type(error):
        log.exception("ServerApp raised an exception")
    return text.getvalue()


def test_of_a_refusal_the_log_shows_the_reason_and_of_a_mistake_where_it_is():
    assert shown(QuorumError("nobody came")) == "QuorumError: nobody came\n"
    assert "Traceback" in shown(ZeroDivisionError("a mistake"))
