"""A server that does not answer is asked again for a minute or two, and whoever waits for it is told."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

CONNECT_SECONDS = 10.0  # in which a connection is made, or there is nobody
GREETING_SECONDS = 15.0  # in which whoever is there says so
_LATEST = 90.0  # seconds after the first try in which another begins; the last one may take its time


@dataclass(frozen=True)
class Wait:
    """What is told before each wait; it names nobody.

    Attributes:
        server: what is waited for, e.g. ``"the archive"``.
        why: what went wrong.
        seconds: until the next try.
        left: how many tries there are at most, the next one too.
    """

    server: str
    why: str
    seconds: float
    left: int

    def __str__(self) -> str:
        tries = "the last try" if self.left == 1 else f"{self.left} tries left"
        return f"waiting for {self.server} ({self.why}): next try in {self.seconds:.0f} s, {tries}"


Waits = Callable[[Wait], None]


def in_silence(_: Wait) -> None:
    """Tells nobody."""


class Patience:
    """With one question to a server, from its first try on: a second until the next, then twice as long.

    Args:
        server: as in ``Wait``.
        retries: how often it is tried again at most.
        waits: called before each wait.
        sleep: waits that many seconds.
        clock: the time in seconds.

    Attributes:
        tries: that have failed.
    """

    def __init__(
        self,
        server: str,
        retries: int,
        waits: Waits = in_silence,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server, self._retries, self._waits = server, retries, waits
        self._sleep, self._clock = sleep, clock
        self._first = self._begun = clock()
        self.tries = 0

    def again(self, why: str, seconds: float | None = None) -> bool:
        """Wait after a try that failed; whether there is another one.

        Args:
            why: it failed.
            seconds: that the server asks to wait; None where it does not say.
        """
        now = self._clock()
        took, self.tries = now - self._begun, self.tries + 1
        wait = 2.0 ** (self.tries - 1) if seconds is None else seconds
        left = self._left(now - self._first + wait, took)
        if left:
            self._waits(Wait(self._server, why, wait, left))
            self._sleep(wait)
        self._begun = self._clock()
        return left > 0

    def _left(self, begins: float, took: float) -> int:
        """How many tries begin in time if each takes so long, the next after ``begins`` seconds."""
        left = 0
        while self.tries + left <= self._retries and begins <= _LATEST:
            left += 1
            begins += took + 2.0 ** (self.tries + left - 1)
        return left


def retry_after(value: str) -> float | None:
    """Seconds that a ``Retry-After`` asks to wait (RFC 9110, section 10.2.3); None where it says nothing."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
