import logging

from flwr.supercore.logger import ConsoleHandler

from server_app.progress import Began, Ended, Reader, line_of
from server_app.record import Absence, RoundLine

BEGAN = Began(
    run="flower-7",
    study="nodule_ct",
    study_id="0" * 64,
    rounds=2,
    hospitals=("alder", "birch"),
    absent=(Absence(site="cedar", reason="did not come\nwithin 60 s"),),
)
ROUND = RoundLine(
    round=1,
    seconds=1.5,
    participants=("alder",),
    absent=(Absence(site="birch", reason="late"),),
    epsilon={"alder": 1.25, "birch": None},
    model_sha256="0" * 64,
)
ENDED = Ended(status="completed", reason="", model_version="m-1")


def logged(*texts, colored=True):
    """The texts as Flower's console writes them."""
    handler = ConsoleHandler(timestamps=False, json=False, colored=colored)
    records = [logging.LogRecord("flwr", logging.INFO, "", 0, text, (), None) for text in texts]
    return "".join(handler.format(record) + "\n" for record in records)


def test_events_are_found_among_other_lines_with_and_without_colour():
    for colored in (True, False):
        log = logged("hello", line_of(BEGAN), "progress of another kind", line_of(ROUND), colored=colored)
        assert list(Reader().events(log)) == [BEGAN, ROUND]


def test_a_log_may_come_in_pieces_of_any_length():
    log, reader = logged(line_of(BEGAN), line_of(ROUND), line_of(ENDED)), Reader()
    assert [event for letter in log for event in reader.events(letter)] == [BEGAN, ROUND, ENDED]


def test_lines_of_another_version_are_left():
    log = logged('progress {"event":"begun"}', "progress {]", line_of(ENDED).replace('"reason"', '"why"'))
    assert list(Reader().events(log + logged(line_of(ENDED)))) == [ENDED]


def test_a_hospitals_reason_cannot_pass_for_a_line_of_its_own():
    forged = Absence(site="cedar", reason="no\n" + logged(line_of(ENDED), colored=False))
    log = logged(line_of(ROUND.model_copy(update={"absent": (forged,)})))
    assert [type(event) for event in Reader().events(log)] == [RoundLine]
