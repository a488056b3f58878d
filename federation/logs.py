"""Logs of processes that nobody watches: one line a record, so that nothing in a message can pass for one."""

import logging
import sys


class OneLine(logging.Formatter):
    """A record with its traceback, the ends of lines written out."""

    def format(self, record: logging.LogRecord) -> str:
        """The record on one line."""
        return super().format(record).replace("\r", "\\r").replace("\n", "\\n")


def log_lines() -> None:
    """Have this process log to stderr, from INFO on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.captureWarnings(True)
    for quiet in ("uvicorn", "httpx"):
        logging.getLogger(quiet).setLevel(logging.WARNING)
    logging.getLogger("flwr").propagate = False  # it has a handler of its own
