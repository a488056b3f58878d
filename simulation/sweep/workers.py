"""Simulations side by side, each a process of its own on its own share of the cores."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from simulation.engine import usable_cores
from simulation.processes import ending_processes

_GRACE = 30.0  # seconds that stopped simulations have to leave their records


@dataclass(frozen=True)
class Work:
    """A simulation to run.

    Attributes:
        overrides: its settings.
        log: takes what it says of warnings and errors.
    """

    overrides: Sequence[str]
    log: Path


@dataclass(frozen=True)
class Ended:
    """A simulation that has been run.

    Attributes:
        code: its exit code; negative is the signal that ended it.
        began: on the clock of ``time.monotonic``.
        seconds: how long it took.
    """

    code: int
    began: float
    seconds: float


def run_all(works: Sequence[Work], ended: Callable[[int, Ended | None], None]) -> None:
    """Run each of ``works`` in a process, as many at once as there are cores.

    Args:
        works: what to run.
        ended: is called in this thread as each ends, with its position, and with None for those that were not
            begun because something, such as Ctrl-C, ended this function early.
    """
    shares: SimpleQueue[set[int]] = SimpleQueue()
    for share in core_shares(len(works)):
        shares.put(share)
    processes = _Processes()
    with (
        ending_processes(),
        ThreadPoolExecutor(shares.qsize(), initializer=lambda: _pin(shares.get())) as pool,
    ):
        waiting: dict[Future[Ended | None], int] = {
            pool.submit(processes.run, work): number for number, work in enumerate(works)
        }
        try:
            for future in as_completed(list(waiting)):
                ended(waiting.pop(future), future.result())
        finally:
            processes.stop()
            for future, number in waiting.items():
                ended(number, future.result())


def core_shares(works: int) -> list[set[int]]:
    """The usable cores, dealt out to as many processes as run at once."""
    cores = sorted(usable_cores())
    at_once = max(1, min(len(cores), works))
    return [set(cores[first::at_once]) for first in range(at_once)]


def _pin(cores: set[int]) -> None:
    """Keep this thread, and every process that it starts, to ``cores``, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


class _Processes:
    """Starts simulations, waits for them and, when asked, stops all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stopped = False
        self._running: set[subprocess.Popen[bytes]] = set()

    def run(self, work: Work) -> Ended | None:
        """Run one to its end; None if all were stopped before."""
        work.log.parent.mkdir(parents=True, exist_ok=True)
        with work.log.open("ab") as log, self._lock:
            if self._stopped:
                return None
            began = time.monotonic()
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "simulation.sweep.job", *work.overrides],
                # One thread a site, as in ./scripts/simulate.
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=log,
                # Ctrl-C reaches it through its standard input, once.
                start_new_session=True,
            )
            self._running.add(process)
        code = process.wait()
        with self._lock:
            self._running.discard(process)
            _let_go(process)
        return Ended(code, began, time.monotonic() - began)

    def stop(self) -> None:
        """Have all that run leave their records and end, and let none begin."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
            for process in running:
                _let_go(process)
        end = time.monotonic() + _GRACE
        for process in running:
            try:
                process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()


def _let_go(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
