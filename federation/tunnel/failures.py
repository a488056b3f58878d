"""One line a failure, and not one a second."""

import logging
import time
from collections.abc import Callable

_log = logging.getLogger("tunnel")
_SECONDS = 60.0


class Failures:
    """Tells each kind of failure at most once a minute, and then how often it happened in between.

    Args:
        seconds: the pause between two lines of a kind.
        clock: seconds that only grow.
    """

    def __init__(self, seconds: float = _SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._last: dict[str, float] = {}
        self._untold: dict[str, int] = {}

    def tell(self, kind: str, what: str) -> None:
        """Write ``what``, unless a failure of its ``kind``, one of a few, was written just now."""
        now = self._clock()
        if kind in self._last and now - self._last[kind] < self._seconds:
            self._untold[kind] = self._untold.get(kind, 0) + 1
            return
        self._last[kind] = now
        untold = self._untold.pop(kind, 0)
        _log.warning("%s%s", what, f" (and {untold} more of this kind since the last line)" if untold else "")
