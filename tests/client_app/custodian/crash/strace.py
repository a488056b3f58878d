"""Run a piece of work in a process of its own under strace, which writes down or cuts off what it does."""

import os
import signal
import subprocess
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

# Whatever changes files. What ``disk`` knows nothing of is among it, to be noticed.
CHANGES = (
    "openat,open,creat,write,writev,pwrite64,pwritev,pwritev2,lseek,ftruncate,truncate,fallocate,"
    "copy_file_range,sendfile,splice,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,"
    "mkdir,mkdirat,rmdir,fsync,fdatasync,sync_file_range,mmap"
)
_FORK = get_context("fork")  # whoever forks has imported everything already


class NotTraceableError(Exception):
    """This machine has no strace, or does not let it look at a process."""


def recorded(work: Callable[[], None], trace: Path) -> None:
    """Do ``work``, and write every system call that changes a file into ``trace``, with all of its data.

    Raises:
        NotTraceableError: strace cannot be used.
    """
    options = ["-y", "-xx", "-s", str(2**24), "-e", f"trace={CHANGES}", "-o", str(trace)]
    code = _traced(work, options)
    if code != 0:
        raise RuntimeError(f"what was recorded ended with {code}")


def killed_at(work: Callable[[], None], call: str, number: int) -> bool:
    """Do ``work``, but send SIGKILL at system call ``call`` number ``number``; whether it came to that.

    Raises:
        NotTraceableError: strace cannot be used.
    """
    options = ["-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={number}", "-o", os.devnull]
    code = _traced(work, options)
    if code not in (0, -signal.SIGKILL):
        raise RuntimeError(f"what was to be killed ended with {code}")
    return code != 0


def _traced(work: Callable[[], None], options: list[str]) -> int | None:
    ready, go = os.pipe()
    process = _FORK.Process(target=_when_told, args=(ready, work))
    process.start()
    try:
        command = ["strace", "-f", "-p", str(process.pid), *options]
        try:
            strace = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        except FileNotFoundError:
            raise NotTraceableError("strace is not installed") from None
        with strace:
            assert strace.stderr is not None
            said = strace.stderr.readline()
            if "attached" not in said:
                raise NotTraceableError(f"strace may not look at a process here ({said.strip()})")
            os.write(go, b"!")
            strace.communicate()
        process.join()
        return process.exitcode
    finally:
        if process.is_alive():
            process.kill()
        process.join()
        process.close()
        os.close(ready)
        os.close(go)


def _when_told(ready: int, work: Callable[[], None]) -> None:
    os.read(ready, 1)
    work()
