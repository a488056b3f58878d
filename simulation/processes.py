"""Processes that end with the block of code that started them, whatever became of their parents."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

_POLITE = 5.0  # seconds that processes have to end when they are told to
_PR_SET_CHILD_SUBREAPER = 36


@contextmanager
def ending_processes() -> Iterator[None]:
    """End every process that is started inside the ``with`` block, and every one that those have started.

    On Linux that holds for orphans, too: this process adopts them for the time being.
    """
    before = set(_descendants())
    _adopt(orphans=True)
    try:
        yield
    finally:
        _end_all(before)
        _adopt(orphans=False)


def _descendants() -> list[psutil.Process]:
    return list(psutil.Process().children(recursive=True))


def _end_all(but: set[psutil.Process]) -> None:
    """First politely; those that dying processes start meanwhile, too."""
    _wait_for([process for process in _descendants() if process not in but], "terminate")
    while left := [process for process in _descendants() if process not in but]:
        _wait_for(left, "kill")


def _wait_for(processes: list[psutil.Process], ending: str) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            getattr(process, ending)()
    psutil.wait_procs(processes, timeout=_POLITE)


def _adopt(*, orphans: bool) -> None:
    """Have this process become the parent of descendants whose own parent ends, where the system can."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(orphans), 0, 0, 0)
