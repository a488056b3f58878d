"""Run a study through ``flwr run``: a SuperLink of its own, Ray for the sites, no process left behind.

Everything about Flower's processes stands in this file. The study itself is the same as inline, and whoever
listens is told the same, from the record that the ServerApp writes.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from federation.cache import cache_folder
from federation.config import CONF, RunConfig, compose_run, run_folder
from federation.errors import RunError
from federation.flower_programs import ENVIRONMENT
from federation.overrides import quoted, setting_of
from federation.run_config import run_config_file
from server_app.checkpoint import go_back
from server_app.listeners import Listener
from simulation.follower import Follower
from simulation.processes import ending_processes

_APP = CONF.parent
_STARTING = 180.0  # seconds that a SuperLink or a ServerApp may take to start
_POLL = 0.3
_ENDINGS = (signal.SIGTERM, signal.SIGHUP)
# Becomes its command, and tells it to end when its standard input closes, however this process ended.
_GUARDED = 'exec 3<&0; (read -r _ <&3; kill $$) & exec "$@" </dev/null 3<&-'


def run_flower(overrides: Sequence[str], nodes: int, *listeners: Listener) -> None:
    """Run a study through Flower's SuperLink and Ray, and tell ``listeners`` how it goes.

    With ``RAY_ADDRESS`` the sites run in that Ray cluster, else in one that starts and ends here.

    Raises:
        RunError: the run failed; its record, if there is one, says why.
    """
    torch.set_num_threads(1)
    run = compose_run(overrides)
    folder = run_folder(run, "flower")
    if run.options.resume is not None:
        go_back(folder)  # before anybody reads there
    follower = Follower(run, folder, listeners)
    follower.begin()
    try:
        # In the system's folder for such, since the names of Ray's sockets must be short.
        with TemporaryDirectory(prefix="wardround-", ignore_cleanup_errors=True) as home, _termination():
            _run(Path(home), _absolute(run, overrides), nodes, follower, folder / "run.log")
    finally:
        follower.follow()
        follower.sort()
    follower.end()


def _run(home: Path, overrides: Sequence[str], nodes: int, follower: Follower, log: Path) -> None:
    """Submit the study to a SuperLink of its own and follow it to its end."""
    environment = _environment(home)
    config = home / "run.toml"
    config.write_text(run_config_file(list(overrides)))
    command = ["flwr", "run", str(_APP), "--stream", "--run-config", str(config)]
    command += ["--federation-config", f"num-supernodes={nodes} client-resources-num-cpus=1"]
    with log.open("ab") as output, _superlink(home, environment):
        client = subprocess.Popen(  # noqa: S603
            command, cwd=home, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        end = time.monotonic() + _STARTING
        try:
            while client.poll() is None:
                follower.follow()
                if not follower.begun and time.monotonic() > end:
                    raise RunError(f"the study did not start within {_STARTING:.0f} s; see {log}")
                time.sleep(_POLL)
        finally:
            client.kill()
            client.wait()
    follower.follow()


@contextmanager
def _superlink(home: Path, environment: dict[str, str]) -> Iterator[None]:
    """A SuperLink for what runs inside the ``with`` block; none of its processes outlives it.

    Raises:
        RunError: it does not start.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    connection = f'address = "127.0.0.1:{port}"\ninsecure = true\n'
    (home / "config.toml").write_text(f'[superlink]\ndefault = "run"\n\n[superlink.run]\n{connection}')
    command = ["flower-superlink", "--insecure", "--simulation", "--isolation", "subprocess"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with (home / "superlink.log").open("wb") as output, ending_processes():
        superlink = subprocess.Popen(  # noqa: S603
            ["/bin/sh", "-c", _GUARDED, "sh", *command],
            cwd=home,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        _wait_for(port, superlink, home / "superlink.log")
        yield
    superlink.communicate()


def _wait_for(port: int, superlink: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _STARTING
    while superlink.poll() is None and time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(_POLL)
    lines = log.read_text(errors="replace").splitlines()
    raise RunError(f"Flower's SuperLink did not start: {lines[-1] if lines else 'it says nothing'}")


@contextmanager
def _termination() -> Iterator[None]:
    """Inside the ``with`` block whatever ends this process does so as Ctrl-C does, with time to tidy up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.default_int_handler) for number in _ENDINGS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _environment(home: Path) -> dict[str, str]:
    """Flower's and Ray's environment: nothing is downloaded, nothing phoned home, one thread a site."""
    return {
        **os.environ,
        **ENVIRONMENT,
        "FLWR_HOME": str(home),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_TMPDIR": str(home),
        "OMP_NUM_THREADS": "1",
        "NO_COLOR": "1",
        "NO_PROXY": ",".join(filter(None, [os.environ.get("NO_PROXY"), "127.0.0.1", "localhost"])),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "WARDROUND_CACHE": str(cache_folder().absolute()),
    }


def _absolute(run: RunConfig, overrides: Sequence[str]) -> list[str]:
    """``overrides`` with the folders of hospitals' data absolute, since Flower's processes run elsewhere."""
    settings = {"site": run.site, **{f"federation.sites.{k}": v for k, v in run.federation.sites.items()}}
    folders = {
        f"{place}.data.folder": Path(site["data"]["folder"]).absolute()
        for place, site in settings.items()
        if "folder" in site.get("data", {})
    }
    folders["models"] = Path(run.options.models).absolute()
    kept = [item for item in overrides if setting_of(item) not in folders]
    return [*kept, *(f"++{key}={quoted(folder)}" for key, folder in folders.items())]
