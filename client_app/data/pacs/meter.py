"""What has come so far, how fast it may, and what is said where it does not."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Lock

from client_app.data.pacs.settings import Rate
from client_app.data.patience import Patience, Waits, in_silence


@dataclass(frozen=True)
class Progress:
    """Counts, and nothing else.

    Attributes:
        studies: begun.
        instances: files that came.
        size: their bytes.
        left_out: studies and files that the archive told of and that are not taken.
    """

    studies: int = 0
    instances: int = 0
    size: int = 0
    left_out: int = 0


Told = Callable[[Progress], None]


class Meter:
    """Counts for whoever watches, and waits where it went too fast; of all threads together.

    Args:
        rate: the limits.
        told: called with the counts after each change.
        waits: called before each wait for an archive that does not answer.
    """

    def __init__(
        self,
        rate: Rate,
        told: Told = lambda _: None,
        waits: Waits = in_silence,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._told, self._waits, self._clock, self._sleep = told, waits, clock, sleep
        self._lock = Lock()
        self._study_seconds = 60 / rate.studies_per_minute if rate.studies_per_minute else 0.0
        self._byte_seconds = 1e-6 / rate.megabytes_per_second if rate.megabytes_per_second else 0.0
        self._next_study = self._next_byte = clock()
        self.progress = Progress()

    def patience(self, retries: int) -> Patience:
        """With one question to the archive."""
        return Patience("the archive", retries, self._waits, self._sleep, self._clock)

    def study(self) -> None:
        """Before one is asked for: waits until it may be."""
        with self._lock:
            now = self._clock()
            start = max(now, self._next_study)
            self._next_study = start + self._study_seconds
            self._tell(studies=1)
        self._wait(start - now)

    def came(self, size: int) -> None:
        """After ``size`` bytes of a file: waits until they may have come."""
        if not self._byte_seconds:
            return
        with self._lock:
            now = self._clock()
            # Time in which nothing was asked for is not saved up.
            self._next_byte = max(now, self._next_byte) + size * self._byte_seconds
            seconds = self._next_byte - now
        self._wait(seconds)

    def kept(self, size: int) -> None:
        """A file of ``size`` bytes is on the disk."""
        with self._lock:
            self._tell(instances=1, size=size)

    def left_out(self, count: int = 1) -> None:
        """The archive told of what is not taken."""
        if count:
            with self._lock:
                self._tell(left_out=count)

    def _tell(self, **more: int) -> None:
        self.progress = replace(
            self.progress, **{name: getattr(self.progress, name) + count for name, count in more.items()}
        )
        self._told(self.progress)

    def _wait(self, seconds: float) -> None:
        if seconds > 0:
            self._sleep(seconds)
