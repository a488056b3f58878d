"""Logs of processes that nobody watches: one line a record, so that nothing in a message can pass for one.

``WARDROUND_LOG`` says what a line is: ``lines`` are for people, ``json`` is an object for a collector.
"""

import json
import logging
import os
import sys
import threading
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from federation.errors import ConfigError

log = logging.getLogger("wardround")

FORMAT = "WARDROUND_LOG"
LEFT_OUT = "left out, since it may name a patient; WARDROUND_LOG=lines tells it"
_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class OneLine(logging.Formatter):
    """A record with its traceback, the ends of lines written out."""

    def format(self, record: logging.LogRecord) -> str:
        """The record on one line."""
        return super().format(record).replace("\r", "\\r").replace("\n", "\\n")


class JsonLine(logging.Formatter):
    """A record as a JSON object: time (UTC, ISO 8601), level, logger, message, exception if there is one.

    Args:
        discreet: leave out what others have written and may name a patient: the texts of exceptions, of which
            type and place are told, and the messages of libraries.
    """

    def __init__(self, *, discreet: bool = False) -> None:
        super().__init__()
        self._discreet = discreet

    def format(self, record: logging.LogRecord) -> str:
        """The record on one line, in ASCII."""
        ours = record.name.partition(".")[0] == "wardround"
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage() if ours or not self._discreet else LEFT_OUT,
        }
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told)

    def formatException(self, ei: _ExcInfo) -> str:  # noqa: N802 - as logging has it
        """The traceback."""
        if not self._discreet:
            return super().formatException(ei)
        told, error = [], ei[1]
        while error is not None:
            told.append(f"{''.join(traceback.format_tb(error.__traceback__))}{type(error).__name__}")
            error = error.__cause__ or error.__context__
        return "\nafter\n".join(told)


def log_lines(*, patients: bool = False) -> None:
    """Have this process log to stderr, from INFO on.

    Where JSON is asked for, what ends the process is a record, too, and so is what Flower says, if it was
    imported before.

    Args:
        patients: this process sees patients' data. Then JSON, which others collect, is discreet; see
            ``JsonLine``. Lines, which stay where they are, tell all.

    Raises:
        ConfigError: ``WARDROUND_LOG`` is neither ``lines`` nor ``json``.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.INFO)
    handler.setFormatter(
        JsonLine(discreet=patients)
        if in_json()
        else OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.captureWarnings(True)
    for quiet in ("uvicorn", "httpx"):
        logging.getLogger(quiet).setLevel(logging.WARNING)
    flower = logging.getLogger("flwr")  # which has a handler of its own
    flower.propagate = in_json()
    if in_json():
        flower.handlers.clear()
        sys.excepthook = _unforeseen
        threading.excepthook = lambda of: _unforeseen(of.exc_type, of.exc_value, of.exc_traceback)


def in_json() -> bool:
    """Whether logs are to be JSON.

    Raises:
        ConfigError: as ``log_lines``.
    """
    chosen = os.environ.get(FORMAT, "lines")
    if chosen not in ("lines", "json"):
        raise ConfigError(f"{FORMAT}={chosen} is no kind of log; it is lines or json, or left out for lines")
    return chosen == "json"


def logs_json() -> bool:
    """Whether this process has begun to log, and in JSON."""
    return any(isinstance(handler.formatter, JsonLine) for handler in logging.getLogger().handlers)


def uvicorn_in_json(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration of uvicorn's logs, whose records are told as those of all others here."""
    for name in config["formatters"]:
        config["formatters"][name] = {"()": JsonLine}
    return config


def _unforeseen(kind: type[BaseException], error: BaseException | None, where: TracebackType | None) -> None:
    if error is not None:
        log.critical("ended by %s", kind.__name__, exc_info=(kind, error, where))
