"""What is not taken into the store, and by which rule."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from federation.errors import DataError

# Series of a study, before the rest is left for the next time: a minute each, if decoders hang.
MOST_FAULTS = 10


class Refused(DataError):  # noqa: N818 - it says what became of the file
    """A file, study or patient that is not taken; the message names nobody.

    Attributes:
        rule: the short identifier of the rule that decided, e.g. ``"burned-in-text"``.
        passing: whether it may be the machine's fault and not that of what was looked at, so that the next
            ingest looks again.
    """

    def __init__(self, rule: str, reason: str, *, passing: bool = False) -> None:
        super().__init__(reason)
        self.rule, self.passing = rule, passing


def is_of_the_machine(error: Exception) -> bool:
    """Whether memory or the operating system has failed, whatever a file holds."""
    # A stranger's bytes may have a library seek to where no file has anything.
    return isinstance(error, MemoryError) or (
        isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)
    )


@contextmanager
def enough_memory() -> Iterator[None]:
    """Where there is not, what is looked at in it is ``Refused`` for this time (``no-memory``)."""
    try:
        yield
    except MemoryError:
        raise Refused(
            "no-memory", "it takes more memory than this machine has to give now", passing=True
        ) from None
