"""Runs tasks that Flower hands out, each in a process of its own that has everything loaded.

Flower starts a new Python for every message. Here the child is forked from a process that has imported the
app once, so it begins at once, and ends with the message: nothing of one stays for the next.
"""

import ctypes
import gc
import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import NoReturn

from federation.errors import RunError
from federation.flower_runtime import Task, Tasks

log = logging.getLogger("wardround.launcher")

# Between two questions for a task: where there are none, and where nobody answers.
_PAUSE, _LONG_PAUSE = 0.1, 2.0
_SECONDS_TO_STOP = 5.0
_PR_SET_PDEATHSIG = 1  # of Linux' prctl


def run_launcher(
    tasks: Tasks, run: Callable[[Task], None], *, seconds: float | None, ending: signal.Signals
) -> NoReturn:
    """Run one task after another until SIGTERM; several at once where several are there.

    Args:
        tasks: where they come from.
        run: one task, in a process of its own.
        seconds: the longest that a task may take; then its process is killed. None is for ever.
        ending: what a task's process gets when the launcher ends, however it ends. SIGKILL for messages: it
            leaves nothing half-done behind, and the SuperNode tells whoever asked.
    """
    signal.signal(signal.SIGTERM, lambda *_: _stop())
    children = _Children(seconds, ending)
    heard = True
    gc.freeze()  # what is loaded is shared with the children, and stays so
    log.info("asking %s for tasks", tasks.address)
    try:
        while True:
            children.look_after()
            try:
                task = tasks.next()
            except RunError as error:
                if heard:
                    log.warning("%s; trying on", error)
                heard = False
                time.sleep(_LONG_PAUSE)
                continue
            if not heard:
                log.info("%s answers again", tasks.address)
            heard = True
            if task is None:
                time.sleep(_PAUSE)
            else:
                log.info("task %d of run %d, bundle %s", task.id, task.run, task.bundle)
                children.start(run, task)
    finally:
        children.stop()


class _Children:
    def __init__(self, seconds: float | None, ending: signal.Signals) -> None:
        self._seconds = seconds
        self._ending = ending
        self._began: dict[BaseProcess, tuple[Task, float]] = {}

    def start(self, run: Callable[[Task], None], task: Task) -> None:
        whole = (run, task, self._ending, os.getpid())
        child = multiprocessing.get_context("fork").Process(target=_child, args=whole)
        child.start()
        self._began[child] = (task, time.monotonic())

    def look_after(self) -> None:
        for child, (task, began) in list(self._began.items()):
            if child.exitcode is not None:
                if child.exitcode:
                    log.warning("task %d ended with %d", task.id, child.exitcode)
                del self._began[child]
            elif self._seconds is not None and time.monotonic() - began > self._seconds:
                log.error("task %d took more than %g s and is killed", task.id, self._seconds)
                child.kill()
                child.join()

    def stop(self) -> None:
        for child in self._began:
            if child.pid is not None and child.exitcode is None:
                os.kill(child.pid, self._ending)
        for child in self._began:
            child.join(_SECONDS_TO_STOP)
            if child.exitcode is None:
                child.kill()


def _child(run: Callable[[Task], None], task: Task, ending: signal.Signals, launcher: int) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(ending))
    if os.getppid() == launcher:  # which may have ended before we said so
        try:
            run(task)
        except Exception:  # or multiprocessing would print it as lines
            log.exception("task %d broke off", task.id)
            raise SystemExit(1) from None


def _stop() -> NoReturn:
    raise SystemExit(0)
