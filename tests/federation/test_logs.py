"""A record is one line, whatever a stranger has put into it, and for a collector it is JSON."""

import json
import logging
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

import federation
from federation.errors import ConfigError, WardroundError
from federation.logs import JsonLine, OneLine, in_json

WRONG = 'first\r\n2026-01-01 CRITICAL x: second\n{"level": "CRITICAL"}\x1b[2J\x00\ud800\u2028 \'third" \\'
FORGED = "a record that nobody wrote, from what a stranger sends"
NAMED = "a patient's name in logs that are collected"
PATIENT = "Erika Mustermann"
LINES, JSON = OneLine("%(levelname)s %(name)s: %(message)s"), JsonLine()


class Quoted(logging.Formatter):
    """As a format of one's own making would be; Flower's console has one like it."""

    def format(self, record):
        return f'{{"level": "{record.levelname}", "message": "{record.getMessage()}"}}'


def record(message, *arguments):
    try:
        raise WardroundError(message)
    except WardroundError:
        return logging.LogRecord("of.x", logging.WARNING, "", 0, message, arguments, sys.exc_info())


def is_json(text):
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


@pytest.mark.attack(FORGED, held_by="one record a line, with the ends of lines written out")
@pytest.mark.parametrize("kind", [LINES, JSON])
def test_a_record_is_one_line_whatever_is_in_it(kind):
    said = kind.format(record(WRONG))
    assert "\n" not in said
    assert "\r" not in said
    assert "second" in said


@pytest.mark.attack(FORGED, held_by="one record a line, with the ends of lines written out")
def test_what_it_holds_is_told_as_it_was():
    told = json.loads(JSON.format(record(WRONG)))
    assert set(told) == {"time", "level", "logger", "message", "exception"}
    assert (told["level"], told["logger"], told["message"]) == ("WARNING", "of.x", WRONG)
    assert "WardroundError: first" in told["exception"]


@pytest.mark.mutant(FORGED, how="ends of lines are left as they are")
def test_a_log_that_writes_them_as_they_are_has_more_lines_than_records():
    assert len(logging.Formatter("%(message)s").format(record(WRONG)).split("\n")) > 1


@pytest.mark.mutant(FORGED, how="JSON that is put together as text")
@pytest.mark.parametrize("text", ['x", "level": "CRITICAL', WRONG])
def test_json_put_together_as_text_is_none_or_says_something_else(text):
    said = Quoted().format(record(text))
    assert not is_json(said) or json.loads(said)["message"] != text
    assert is_json(JSON.format(record(text)))


def test_time_is_utc_to_the_millisecond():
    told = json.loads(JSON.format(logging.makeLogRecord({"created": 1764232252.1239, "name": "x"})))
    assert told["time"] == "2025-11-27T08:30:52.123+00:00"
    assert datetime.fromisoformat(told["time"]).tzinfo == UTC
    assert "exception" not in told


@pytest.mark.parametrize("word", ["JSON", "", "text", "lines,json"])
def test_another_word_is_refused(monkeypatch, word):
    monkeypatch.setenv("WARDROUND_LOG", word)
    with pytest.raises(ConfigError, match=f"WARDROUND_LOG={word} is no kind of log; it is lines or json"):
        in_json()


def test_without_a_word_it_is_lines(monkeypatch):
    monkeypatch.delenv("WARDROUND_LOG", raising=False)
    assert not in_json()


class TestDiscreet:
    """A custodian's: the texts of exceptions and of libraries may name a patient."""

    @staticmethod
    def told(kind, logger="wardround.x", message="said"):
        try:
            try:
                raise KeyError(PATIENT)
            except KeyError as error:
                raise WardroundError(f"no chart of {PATIENT}") from error
        except WardroundError:
            return kind.format(logging.LogRecord(logger, logging.ERROR, "", 0, message, (), sys.exc_info()))

    @pytest.mark.attack(NAMED, held_by="types and places of exceptions, and messages of our own alone")
    def test_it_tells_types_and_places_of_exceptions_and_no_texts(self):
        said = self.told(JsonLine(discreet=True))
        assert PATIENT not in said
        told = json.loads(said)
        assert told["message"] == "said"
        for word in ("test_logs.py", "in told", "WardroundError", "after", "KeyError"):
            assert word in told["exception"]

    @pytest.mark.attack(NAMED, held_by="types and places of exceptions, and messages of our own alone")
    @pytest.mark.parametrize("library", ["pydicom", "py.warnings", "wardroundx", "root"])
    def test_it_tells_no_messages_but_ours(self, library):
        said = self.told(JsonLine(discreet=True), library, f"odd value {PATIENT}")
        assert PATIENT not in said
        assert json.loads(said)["message"].startswith("left out")

    @pytest.mark.mutant(NAMED, how="a formatter that tells all")
    @pytest.mark.parametrize("message", ["said", f"odd value {PATIENT}"])
    def test_another_formatter_lets_them_through(self, message):
        assert PATIENT in self.told(JsonLine(), "pydicom", message)


PROGRAM = """
import logging, threading, warnings
import flwr.supercore.logger
from federation.errors import WardroundError
from federation.command_line import run
from federation.logs import log_lines

log_lines()
logging.getLogger("flwr").info("of %s", "Flower")
logging.getLogger("flwr").debug("nobody's business")
logging.getLogger("wardround.x").info("of ours")
warnings.warn("a warning")
def fails(): raise ValueError("in a thread")
thread = threading.Thread(target=fails); thread.start(); thread.join()
def refused(): raise WardroundError("refused\\nwith a second line")
"""


def said_by(program, kind):
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(federation.__file__).parents[1],
        env={"WARDROUND_LOG": kind, "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )


class TestProcess:
    def test_all_that_it_says_is_json(self):
        said = said_by(PROGRAM + "run(refused)", "json")
        told = [json.loads(line) for line in said.stderr.splitlines()]
        assert said.stdout == ""
        assert said.returncode == 1
        assert [(each["level"], each["logger"]) for each in told] == [
            ("INFO", "flwr"),
            ("INFO", "wardround.x"),
            ("WARNING", "py.warnings"),
            ("CRITICAL", "wardround"),
            ("CRITICAL", "wardround"),
        ]
        assert told[0]["message"] == "of Flower"
        assert "ValueError: in a thread" in told[3]["exception"]
        assert told[4]["message"] == "WardroundError: refused\nwith a second line"

    def test_so_is_what_ends_it(self):
        said = said_by(PROGRAM + "1 / 0", "json")
        last = json.loads(said.stderr.splitlines()[-1])
        assert last["message"] == "ended by ZeroDivisionError"
        assert "1 / 0" not in said.stdout
        assert said.returncode == 1

    def test_a_word_that_is_none_is_said_before_anything_begins(self):
        program = PROGRAM.split("log_lines()", maxsplit=1)[0] + "run(log_lines)"
        said = said_by(program, "xml")
        assert said.returncode == 1
        assert said.stderr.startswith("ConfigError: WARDROUND_LOG=xml is no kind of log")
