"""Several apps on several Unix sockets, in one process and one event loop."""

import asyncio
import os
import signal
import socket
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from client_app.custodian.protocol import GuardedProtocol
from client_app.custodian.web import turns_of
from federation.errors import ConfigError
from federation.files import locked

MOST_PATH = 107  # bytes of a socket's path on Linux: sun_path has 108, the last of which is zero
_LOOK = 0.1  # seconds between two looks whether all is answered
_LAST_READ = 5.0  # seconds that clients have to take the last answers
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class _Server(uvicorn.Server):
    """One of several in a process, so that signals are not its business."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(apps: Mapping[Path, FastAPI]) -> None:
    """Serve each app on its socket until SIGTERM or SIGINT.

    What is being computed then is still answered; what waits is refused. A second signal ends the process
    at once.

    Raises:
        ConfigError: a socket cannot be had.
    """
    asyncio.run(_until_signal(apps))


async def _until_signal(apps: Mapping[Path, FastAPI]) -> None:
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()

    def stop() -> None:
        stopping.set()
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)

    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, stop)
    await serve_until(stopping, apps)


async def serve_until(stopping: asyncio.Event, apps: Mapping[Path, FastAPI]) -> None:
    """Serve each app, made by ``web.bare_app``, on its socket until ``stopping``; see ``serve``."""
    servers = [_Server(_settings(app)) for app in apps.values()]
    # The paths go at once, and a successor can have them, while the last requests are still answered.
    with ExitStack() as stack:
        listeners = [stack.enter_context(bound(path)) for path in apps]
        running = [
            asyncio.create_task(server.serve(sockets=[listener.dup()]))
            for server, listener in zip(servers, listeners, strict=True)
        ]
        stopped = asyncio.create_task(stopping.wait())
        await asyncio.wait([stopped, *running], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
    for server, app in zip(servers, apps.values(), strict=True):
        turns_of(app).close()
        server.should_exit = True
    await _drained(servers)
    await asyncio.gather(*running)


def _settings(app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=GuardedProtocol,
        ws="none",
        headers=[("connection", "close")],  # so that no rest of a refused body is ever read
        server_header=False,
        date_header=False,
        proxy_headers=False,
        access_log=False,
        log_config=None,
    )


async def _drained(servers: list[_Server]) -> None:
    """Wait until every request is answered, and a little for the answers to be read."""
    while any(server.server_state.tasks for server in servers):
        await asyncio.sleep(_LOOK)
    for _ in range(round(_LAST_READ / _LOOK)):
        if not any(server.server_state.connections for server in servers):
            break
        await asyncio.sleep(_LOOK)
    for server in servers:
        # Or uvicorn would wait for ever for whoever reads nothing.
        server.force_exit = bool(server.server_state.connections)


@contextmanager
def bound(path: Path) -> Iterator[socket.socket]:
    """A listening socket at ``path``, for its owner and group (0660).

    Its folder is made if it is missing (2750). What a dead process left there is replaced.

    Raises:
        ConfigError: the path is too long, is no socket, cannot be written, or another process answers there.
    """
    length = len(os.fsencode(path))
    if length > MOST_PATH:
        raise ConfigError(f"socket={path} has {length} bytes; Linux takes {MOST_PATH}: choose a shorter path")
    try:
        _make_folder(path.parent)
        with locked(path.with_name(f".{path.name}.lock"), wait=True):  # two may start at once
            _make_way(path)
            listener = _listen(path)
    except OSError as error:
        raise ConfigError(f"socket={path} cannot be had ({error.strerror}); see to its folder") from error
    ours = path.stat().st_ino
    try:
        yield listener
    finally:
        # While the socket is open, no successor's file can be given its number.
        with suppress(FileNotFoundError):
            if path.stat().st_ino == ours:
                path.unlink()
        listener.close()


def _make_folder(folder: Path) -> None:
    if not folder.exists():
        folder.mkdir(parents=True, mode=0o750)
        folder.chmod(0o2750)  # mkdir alone would heed the umask, and leave out the group's bit


def _make_way(path: Path) -> None:
    """Take away the socket of a dead process."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"socket={path} is there and is no socket; move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise ConfigError(f"socket={path}: another custodian answers there; stop it, or choose another path")


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o660)  # before anybody can connect, which takes listen()
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener
