"""Real programs that are started, killed and started again; none outlives its ``with`` block."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self, TypeVar

from federation.errors import RunError
from federation.flower_programs import ENVIRONMENT
from federation.probe import answers

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
_SECONDS_TO_END = 10.0  # that all together have, once they are told to

Value = TypeVar("Value")


class Programs:
    """Programs by name, each with a log of its own and in a process group of its own.

    Args:
        folder: where logs go and programs run.
        patience: seconds that are waited for anything, where nobody says otherwise.
        steady: that none may end while others are waited for.
    """

    def __init__(self, folder: Path, *, patience: float = 300.0, steady: bool = False) -> None:
        self.folder = folder
        self._patience = patience
        self._steady = steady
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: dict[str, tuple[tuple[object, ...], dict[str, str]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._processes):
            self.kill(name, signal.SIGTERM, wait=False)
        end = time.monotonic() + _SECONDS_TO_END
        for name in list(self._processes):
            try:
                self._processes[name].wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.kill(name)
        for process in self._processes.values():
            self._signal(process, signal.SIGKILL)  # what it left behind in its group

    def start(self, name: str, *command: object, **environment: str) -> None:
        """Start ``command`` as ``name``; its output goes to ``NAME.log``."""
        if name in self._processes and self.running(name):
            raise RunError(f"{name} runs already")
        self._commands[name] = (command, environment)
        with self.log_file(name).open("ab") as log:
            self._processes[name] = subprocess.Popen(  # noqa: S603
                [str(part) for part in command],
                cwd=self.folder,
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start_again(self, name: str) -> None:
        """Start a program that has ended, as it was started before."""
        command, environment = self._commands[name]
        self.start(name, *command, **environment)

    def run(self, *command: object, **environment: str) -> str:
        """Run ``command`` to its end; its output is returned, of either kind."""
        done = subprocess.run(  # noqa: S603
            [str(part) for part in command],
            check=False,
            cwd=self.folder,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode != 0:
            raise RunError(f"{command}: {done.stdout}")
        return done.stdout

    @property
    def environment(self) -> dict[str, str]:
        """Of all programs here."""
        return {
            "OMP_NUM_THREADS": "1",
            **os.environ,
            **ENVIRONMENT,
            "NO_COLOR": "1",
            "FLWR_HOME": str(self.folder / "flwr"),
            "PATH": os.pathsep.join([str(BIN), "/usr/sbin", os.environ["PATH"]]),
        }

    def kill(
        self, name: str, number: signal.Signals = signal.SIGKILL, *, wait: bool = True, whole: bool = False
    ) -> None:
        """Send the program a signal; ``whole``: and all that it has started."""
        process = self._processes[name]
        if whole:
            self._signal(process, number)
        elif process.poll() is None:
            process.send_signal(number)
        if wait:
            process.wait()

    @property
    def names(self) -> list[str]:
        """Of those that run."""
        return [name for name in self._processes if self.running(name)]

    def exit_code(self, name: str, seconds: float = 120) -> int:
        """Wait until the program has ended by itself.

        Raises:
            RunError: it has not in time.
        """
        try:
            return self._processes[name].wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise RunError(f"{name} has not ended within {seconds:g} s; {self.log_file(name)}") from error

    def running(self, name: str) -> bool:
        """Whether it has not ended."""
        return self._processes[name].poll() is None

    def pid(self, name: str) -> int:
        """Its number."""
        return self._processes[name].pid

    def log_file(self, name: str) -> Path:
        """Where its output goes."""
        return self.folder / f"{name}.log"

    def log(self, name: str) -> str:
        """Its output so far."""
        return self.log_file(name).read_text(errors="replace")

    def until(self, condition: Callable[[], Value], what: str, seconds: float | None = None) -> Value:
        """Wait until ``condition()`` is true; what it gave is returned.

        Raises:
            RunError: it was not in time, with the end of every log; or a program of steady ones has ended.
        """
        seconds = self._patience if seconds is None else seconds
        end = time.monotonic() + seconds
        while True:
            if value := condition():
                return value
            if self._steady and (ended := [name for name in self._processes if not self.running(name)]):
                raise RunError(f"{ended[0]} has ended; {self.log_file(ended[0])} says why")
            if time.monotonic() > end:
                logs = "\n".join(f"--- {name}\n{self.log(name)[-1500:]}" for name in self._processes)
                raise RunError(f"{what} did not happen within {seconds:g} s\n{logs}")
            time.sleep(0.1)

    def until_said(self, name: str, text: str, seconds: float | None = None) -> None:
        """Wait until ``name`` has logged ``text``."""
        self.until(lambda: text in self.log(name), f"{name} saying {text!r}", seconds)

    def until_listening(self, port: int, seconds: float | None = None) -> None:
        """Wait until somebody listens on ``port`` of loopback."""
        self.until(lambda: answers(f"127.0.0.1:{port}"), f"port {port}", seconds)

    @staticmethod
    def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)


def free_ports(count: int, *, share: int = 0, of: int = 1) -> list[int]:
    """Ports that nobody listens on just now, all different.

    Args:
        count: how many.
        share: which of ``of`` shares of all ports; who asks at the same time with another gets others.
        of: how many shares there are.
    """
    ports: list[int] = []
    with ExitStack() as stack:
        while len(ports) < count:
            port = stack.enter_context(socket.create_server(("", 0))).getsockname()[1]
            if port // 2 % of == share:  # Linux prefers odd ones
                ports.append(port)
    return ports
