"""Programs as whole processes, watched from outside with everything that they start."""

import os
import resource
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

_LOOK = 0.1  # seconds between two looks


class FailedError(Exception):
    """A program did not do what it was started for; the text says why."""


@dataclass(frozen=True)
class Usage:
    """What a program took, all its processes together.

    Attributes:
        cpu: seconds of processor time.
        wall: seconds on the clock.
        memory: the most resident bytes at once; pages that processes share count in each.
    """

    cpu: float
    wall: float
    memory: int


class Tree:
    """A process and its descendants, living and dead, as looks at them find them."""

    def __init__(self, root: psutil.Process) -> None:
        self._root = root
        self._cpu: dict[psutil.Process, float] = {}
        self.memory = 0

    def look(self) -> None:
        """Take down what every process has used so far."""
        memory = 0
        with suppress(psutil.NoSuchProcess):
            for process in [self._root, *self._root.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    times = process.cpu_times()
                    self._cpu[process] = times.user + times.system
                    memory += process.memory_info().rss
        self.memory = max(self.memory, memory)

    @property
    def cpu(self) -> float:
        """Seconds of processor time up to the last look."""
        return sum(self._cpu.values())


def run_watched(
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    looking: Callable[[Tree], None] = lambda _: None,
) -> Usage:
    """Run ``command`` to its end.

    Args:
        command: the program and its arguments.
        environment: what to add to this process's.
        looking: told at each look.

    Raises:
        FailedError: its exit code is not 0.
    """
    before, begun = _of_children(), time.monotonic()
    process = subprocess.Popen(  # noqa: S603
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    tree = Tree(psutil.Process(process.pid))
    errors = ""
    while process.poll() is None:
        tree.look()
        looking(tree)
        with suppress(subprocess.TimeoutExpired):
            errors = process.communicate(timeout=_LOOK)[1]
    wall = time.monotonic() - begun
    if process.returncode:
        raise FailedError((errors.strip().splitlines() or [f"exit code {process.returncode}"])[-1])
    # Each misses something: looks the last moments of a process, the system's count those nobody waited for.
    return Usage(max(_of_children() - before, tree.cpu), wall, tree.memory)


def _of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
