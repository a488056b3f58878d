"""Flower's processes of an app, as far as ours take their place; nobody else here knows their insides.

A SuperNode (and a SuperLink) gives each task to whoever asks for it with the shared secret. Flower's own
launcher then runs the code of the bundle that a researcher sent; ours runs the installed app. All the rest
of a task (its heartbeat, a message in pieces, what is reported of an error) stays Flower's:
``run_clientapp`` and ``run_serverapp`` are called as they are, in a process that runs one task and ends,
and the names by which they look up an app lead to the installed one.
``tests/federation/test_flower_runtime.py`` holds what is assumed of the installed version.
"""

import inspect
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from io import TextIOBase
from pathlib import Path
from queue import Queue
from typing import Any, ClassVar, Protocol

import httpx
import uvicorn
from flwr.app import Context
from flwr.clientapp import ClientApp
from flwr.common.constant import SYSTEM_TIME_TOLERANCE, TIMESTAMP_TOLERANCE
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.serverapp import Grid
from flwr.supercore.constant import TaskType
from flwr.supercore.exit import ExitCode, flwr_exit
from flwr.supercore.http_logging import get_uvicorn_log_config
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor, SuperExecAuthHttpInterceptor
from flwr.supercore.logger import console_handler, mirror_output_to_queue
from flwr.supercore.protobuf.client import ProtobufCall, ProtobufRequestContext
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.superlink.runtime.run_serverapp import run_serverapp
from flwr.supernode.cli.flower_supernode import flower_supernode
from flwr.supernode.fleet_http_connection import http_request_response
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor
from flwr.supernode.runtime.run_clientapp import run_clientapp
from flwr.supernode.start_client_internal import start_client_internal

from federation.errors import ConfigError, RunError, WardroundError
from federation.flower_programs import as_arguments
from federation.logs import JsonLine, logs_json

log = logging.getLogger("wardround.supernode")

_ACQUIRE = "/flwr.proto.Runtime/AcquireTask"


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


def run_supernode(**options: object) -> None:
    """Be Flower's SuperNode, with its options, e.g. ``run_supernode(superlink="gateway:9443")``.

    Flower's asks for a message every three seconds, and most of a round is this wait; here it is one. Twice a
    second it looks whether a reply is there, which is ten times here.

    It ends where it is not let in, and where a part of it breaks, and says why. Flower's own ends without a
    reason, or stays with its port open and asks for nothing more, so that nobody would start it again.
    """
    sys.argv = ["flower-supernode", *as_arguments(options)]
    _put(start_client_internal, time=_QuickTime())
    if logs_json():
        _in_json(uvicorn.config.LOGGING_CONFIG)
    _put(inspect.unwrap(http_request_response), NodeAuthHttpInterceptor=_Identity)
    broken = threading.Event()
    threading.excepthook = partial(_end, broken)
    try:
        flower_supernode()
    except SystemExit:
        if not broken.is_set():
            raise
    flwr_exit(ExitCode.SUPERNODE_CONNECTION_ERROR, "This SuperNode cannot go on; what was said last is why.")


class _Identity(NodeAuthHttpInterceptor):
    """What a SuperNode signs its requests with; it says why the coordinator does not believe it."""

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        response = super().intercept(context, call_next)
        if reason := why_not_let_in(response, datetime.now(UTC)):
            raise httpx.HTTPError(reason)  # the one kind of error that Flower neither retries nor hides
        return response


# How far a SuperNode's clock may be ahead of the SuperLink's, and behind it.
_AHEAD = timedelta(seconds=SYSTEM_TIME_TOLERANCE)
_BEHIND = timedelta(seconds=TIMESTAMP_TOLERANCE) + _AHEAD


def why_not_let_in(response: httpx.Response, now: datetime) -> str:
    """Why the coordinator does not let a SuperNode in, for the hospital's IT; empty where it does.

    Args:
        response: what the coordinator's gateway has sent.
        now: by this machine's clock.
    """
    if response.status_code == httpx.codes.FORBIDDEN and "html" in response.headers.get("content-type", ""):
        # The SuperLink's own 403 is no page, and means that a run is over.
        return (
            "the coordinator's gateway does not let this hospital in (403): its certificate has expired or "
            "was revoked, or belongs to another SuperNode's key; see until when client.crt is valid, or ask "
            "the coordinator"
        )
    if response.status_code != httpx.codes.UNAUTHORIZED:
        return ""
    there = parsedate_to_datetime(response.headers["date"]) if "date" in response.headers else now
    if not -_AHEAD < there - now < _BEHIND:
        how = "behind" if there > now else "ahead of"
        return (
            f"the coordinator does not let this SuperNode in (401): this machine's clock is "
            f"{timedelta(seconds=round(abs(there - now).total_seconds()))} {how} the coordinator's "
            f"({now:%Y-%m-%d %H:%M:%S} UTC); set it by a time server"
        )
    return (
        "the coordinator does not let this SuperNode in (401): its key is not registered there; ask the "
        "coordinator, whose wardround-coordinator sync registers all members anew"
    )


def _end(broken: threading.Event, by: threading.ExceptHookArgs) -> None:
    """End a SuperNode of which a thread has broken, as its heartbeat, without which it gets no message."""
    broken.set()
    log.error("this SuperNode cannot go on: %s", by.exc_value)
    os.kill(os.getpid(), signal.SIGINT)


def run_superlink(*flags: str, **options: object) -> None:
    """Be Flower's SuperLink, e.g. ``run_superlink("--enable-supernode-auth", port=8000)``."""
    from flwr.superlink.cli.flower_superlink import flower_superlink  # noqa: PLC0415

    sys.argv = ["flower-superlink", *flags, *as_arguments(options)]
    if logs_json():
        _put(flower_superlink, get_uvicorn_log_config=lambda level: _in_json(get_uvicorn_log_config(level)))
    flower_superlink()


def _in_json(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration of uvicorn's logs, whose records are told as those of all others here."""
    for name in config["formatters"]:
        config["formatters"][name] = {"()": JsonLine}
    return config


class _QuickTime:
    """What the SuperNode's loop knows of time."""

    _SLEEPS: ClassVar[dict[float, float]] = {3: 1.0, 0.5: 0.1}

    def sleep(self, seconds: float) -> None:
        time.sleep(self._SLEEPS.get(seconds, seconds))


def answer_message(tasks: Tasks, task: Task, app: ClientApp) -> None:
    """Answer the message of ``task`` by ``app``, whatever the bundle has; ends the process."""

    def installed(**_: Any) -> Callable[..., ClientApp]:
        return lambda *_: app

    _put(run_clientapp, install_from_fab=_nothing, get_load_client_app_fn=installed)
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

    _put(run_serverapp, run_=installed)
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


def _put(function: Callable[..., Any], **names: Any) -> None:
    """Give names that ``function`` looks up in its module another meaning, for the rest of this process."""
    scope = function.__globals__
    for name, meaning in names.items():
        if name not in scope:
            raise RunError(
                f"{scope['__name__']} of this flwr has no {name}; install the version that is pinned"
            )
        scope[name] = meaning
