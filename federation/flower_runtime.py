"""Flower's processes of an app, as far as ours take their place.

A SuperNode (and a SuperLink) gives each task to whoever asks for it with the shared secret. Flower's own
launcher then runs the code of the bundle that a researcher sent; ours runs the installed app. All the rest
of a task (its heartbeat, a message in pieces, what is reported of an error) stays Flower's:
``run_clientapp`` and ``run_serverapp`` are called as they are, in a process that runs one task and ends,
and the names by which they look up an app lead to the installed one.
``tests/federation/test_flower_runtime.py`` holds what is assumed of the installed version.
"""

import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOBase
from pathlib import Path
from queue import Queue
from typing import Any, Protocol

import httpx
from flwr.app import Context
from flwr.clientapp import ClientApp
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.serverapp import Grid
from flwr.supercore.constant import TaskType
from flwr.supercore.heartbeat import HeartbeatSender
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor, SuperExecAuthHttpInterceptor
from flwr.supercore.logger import console_handler, mirror_output_to_queue
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.superlink.runtime.run_serverapp import run_serverapp
from flwr.supernode.runtime.run_clientapp import run_clientapp

from federation.errors import ConfigError, RunError, WardroundError
from federation.flower_programs import put
from federation.logs import logs_json

_ACQUIRE = "/flwr.proto.Runtime/AcquireTask"

HEARTBEAT = 15
"""Seconds by which SuperLink, SuperNode and launchers reckon: who is silent for twice as long has died. With
Flower's 30 a round would wait for a minute, and so would a SuperNode that comes back or a run to resume."""


@dataclass(frozen=True)
class Task:
    """One message to answer, or one run to carry out.

    Attributes:
        token: by which its process speaks for it.
        id: of Flower.
        run: Flower's number of the run.
        bundle: SHA-256 of what the researcher sent, as hex digits.
    """

    token: str
    id: int
    run: int
    bundle: str


class Tasks:
    """The tasks of a SuperNode or a SuperLink.

    Args:
        address: ``host:port`` of its runtime API.
        secret: the file of the secret that it was started with.
        server: whose tasks these are: a SuperLink's (runs), or a SuperNode's (messages).
        certificate: what it must show; None is for plain HTTP, which must not cross a network.

    Raises:
        ConfigError: the secret or the certificate cannot be read.
    """

    def __init__(self, address: str, secret: Path, *, server: bool, certificate: Path | None = None) -> None:
        self.address = address
        self.certificate = None if certificate is None else _read(certificate)
        # Messages of every kind are answered: one that nobody takes would hold up all that come after it.
        self._kinds = [TaskType.SERVER_APP] if server else [TaskType.CLIENT_APP, TaskType.AGENT_APP]
        self._client = RuntimeHttpClient.from_server_address(
            address,
            insecure=self.certificate is None,
            root_certificates=self.certificate,
            interceptors=[
                RuntimeVersionHttpInterceptor(component_name="SuperExec"),
                SuperExecAuthHttpInterceptor(master_secret=_read(secret), protected_methods={_ACQUIRE}),
            ],
        )

    def next(self) -> Task | None:
        """A task that is now the caller's to run; None where there is none.

        Raises:
            RunError: nobody answers, or not as expected.
        """
        try:
            answer = self._client.AcquireTask(AcquireTaskRequest(supported_task_types=self._kinds))
        except httpx.HTTPError as error:
            raise RunError(f"{self.address} gives no tasks ({error})") from error
        if not (answer.HasField("task") and answer.token):
            return None
        task = answer.task
        return Task(token=answer.token, id=task.task_id, run=task.run_id, bundle=task.fab_hash)


class RunStudy(Protocol):
    """What a coordinator does for a run."""

    def __call__(self, grid: Grid, context: Context, bundle: Path) -> None:
        """Carry out the run that ``context`` describes.

        Args:
            grid: Flower's link to the nodes.
            context: with the run's config.
            bundle: the folder of what the researcher sent.
        """
        ...


def answer_message(tasks: Tasks, task: Task, app: ClientApp) -> None:
    """Answer the message of ``task`` by ``app``, whatever the bundle has; ends the process."""

    def installed(**_: Any) -> Callable[..., ClientApp]:
        return lambda *_: app

    put(run_clientapp, install_from_fab=_nothing, get_load_client_app_fn=installed)
    put(HeartbeatSender.start, HEARTBEAT_DEFAULT_INTERVAL=HEARTBEAT)
    run_clientapp(
        runtime_api_address=tasks.address,
        token=task.token,
        insecure=tasks.certificate is None,
        certificates=tasks.certificate,
        runtime_dependency_install=False,
    )


def carry_out_run(tasks: Tasks, task: Task, study: RunStudy) -> None:
    """Carry out the run of ``task`` by ``study``; the bundle is unpacked, not executed. Ends the process."""

    def installed(*, grid: Grid, server_app_dir: str, context: Context, **_: Any) -> Context:
        try:
            with _record_first():
                study(grid, context, Path(server_app_dir))
        except WardroundError as error:
            raise error.with_traceback(None) from None
        return context

    put(run_serverapp, run_=installed)
    put(HeartbeatSender.start, HEARTBEAT_DEFAULT_INTERVAL=HEARTBEAT)
    logging.getLogger("flwr").addFilter(_reason_alone)
    shown: Queue[str | None] = Queue()
    _show(shown)
    run_serverapp(
        runtime_api_address=tasks.address,
        log_queue=shown,
        token=task.token,
        insecure=tasks.certificate is None,
        certificates=tasks.certificate,
        runtime_dependency_install=False,
    )


def _show(shown: Queue[str | None]) -> None:
    """Have ``flwr log`` show what Flower's console would, also where the log of this process is JSON."""
    if logs_json():
        sys.stdout = _Into(shown)  # which Flower prints on
        console_handler.setStream(sys.stdout)
        logging.getLogger().addHandler(console_handler)
    else:
        mirror_output_to_queue(shown)


class _Into(TextIOBase):
    """A stream that ends in a queue."""

    def __init__(self, queue: Queue[str | None]) -> None:
        self._queue = queue

    def write(self, text: str, /) -> int:
        self._queue.put(text)
        return len(text)


def _reason_alone(record: logging.LogRecord) -> bool:
    """Have ``flwr log`` show what was refused, and not where in the program."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, WardroundError):
        record.exc_info = None
        record.msg, record.args = "%s: %s", (type(error).__name__, error)
    return True


@contextmanager
def _record_first() -> Iterator[None]:
    """Let a study that is stopped finish its record before Flower's own exit, which kills it after 5 s."""
    numbers = (signal.SIGINT, signal.SIGTERM)  # flwr stop ends in the first
    flowers = {number: signal.getsignal(number) for number in numbers}
    stopped: list[signal.Signals] = []

    def stop(number: int, _: object) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        stopped.append(signal.Signals(number))
        raise SystemExit

    for number in numbers:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in flowers.items():
            signal.signal(number, handler)
        if stopped:
            signal.raise_signal(stopped[0])


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); see to it and start again") from error


def _nothing(*_: Any, **__: Any) -> None:
    """Leave the bundle where it is."""
