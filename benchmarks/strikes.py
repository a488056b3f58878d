"""What is done to a federation: processes killed, lines cut, disks filled, clocks set, members put out."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import psutil

from benchmarks.hospitals import Hospitals
from federation.certificates import certificate_pem, read_private_key, utc_now
from federation.errors import RunError
from federation.files import write_whole
from server_app.admission.folder import Folder
from simulation.members import PARTS

Strike = Callable[[Hospitals, str], None]
"""Does it to a hospital, or to the coordinator while a hospital is in the phase, and undoes it."""
Place = Callable[[Hospitals], AbstractContextManager[None]]

_FIRST_GROUP = 47000  # of the gateways whose lines can be cut
_DISK = "64m"


def kill(program: str) -> Strike:
    """SIGKILL, and start again as Docker does."""
    return lambda hospitals, site: hospitals.killed_and_back(program.format(site=site))


def kill_server_app(hospitals: Hospitals, _: str) -> None:
    """SIGKILL of the launcher's child that carries a run out; the researcher has to come back."""
    for child in psutil.Process(hospitals.programs.pid("coordinator")).children():
        child.kill()


def leave(hospitals: Hospitals, site: str) -> None:
    """All of a hospital is killed, and nothing is started again."""
    for part in PARTS:
        hospitals.programs.kill(f"{site}-{part}")


@contextmanager
def back_afterwards(hospitals: Hospitals) -> Iterator[None]:
    """Whoever left comes back when the study is over."""
    try:
        yield
    finally:
        for name in hospitals.sites:
            for part in PARTS:
                if not hospitals.programs.running(f"{name}-{part}"):
                    hospitals.start_part(name, part)


def compute_for(seconds: float) -> Strike:
    """A hospital's round takes so long: its custodian stands still."""

    def strike(hospitals: Hospitals, site: str) -> None:
        custodian = f"{site}-custodian"
        hospitals.programs.kill(custodian, signal.SIGSTOP, wait=False)
        time.sleep(seconds)
        hospitals.programs.kill(custodian, signal.SIGCONT, wait=False)

    return strike


# Lines.


@contextmanager
def lines_told_apart(hospitals: Hospitals) -> Iterator[None]:
    """Each hospital's gateway in a group of its own, by which the kernel marks its connections."""
    with ExitStack() as stack:
        for number, name in enumerate(hospitals.sites):
            group = _FIRST_GROUP + number
            stack.enter_context(
                _rule(
                    *("OUTPUT", "-o", "lo", "-p", "tcp", "--dport", str(hospitals.sites_port)),
                    *("-m", "owner", "--gid-owner", str(group), "-j", "CONNMARK", "--set-mark", str(group)),
                )
            )
            gateway = f"{name}-gateway"
            hospitals.programs.kill(gateway, signal.SIGTERM)
            with _group(group):
                hospitals.programs.start_again(gateway)
        time.sleep(5)
        yield


def cut_off(seconds: float) -> Strike:
    """Nothing passes between a hospital's gateway and the coordinator's; nobody is told."""

    def strike(hospitals: Hospitals, site: str) -> None:
        mark = str(_FIRST_GROUP + hospitals.sites.index(site))
        with _rule("INPUT", "-i", "lo", "-m", "connmark", "--mark", mark, "-j", "DROP"):
            time.sleep(seconds)

    return strike


def cut_everybody_off(seconds: float) -> Strike:
    """Nothing passes to or from the coordinator's gateway for hospitals."""

    def strike(hospitals: Hospitals, _: str) -> None:
        port = str(hospitals.sites_port)
        to, back = (("INPUT", "-i", "lo", "-p", "tcp", side, port, "-j", "DROP") for side in _SIDES)
        with _rule(*to), _rule(*back):
            time.sleep(seconds)

    return strike


_SIDES = ("--dport", "--sport")


@contextmanager
def _rule(chain: str, *words: str) -> Iterator[None]:
    _called("iptables", "-w", "-I", chain, *words)
    try:
        yield
    finally:
        _called("iptables", "-w", "-D", chain, *words)


@contextmanager
def _group(number: int) -> Iterator[None]:
    """What is started meanwhile is of this group."""
    os.setegid(number)
    try:
        yield
    finally:
        os.setegid(os.getgid())


# Disks.


def small_disk(folder: str, program: str = "") -> Place:
    """A disk of its own for ``folder``, while ``program``, which has files open there, is down."""

    @contextmanager
    def place(hospitals: Hospitals) -> Iterator[None]:
        path = hospitals.folder / folder
        with _mounted(hospitals, path, program):
            yield

    return place


@contextmanager
def _mounted(hospitals: Hospitals, path: Path, program: str) -> Iterator[None]:
    aside = path.with_name(f"{path.name}.aside")
    with _down(hospitals, program):
        shutil.copytree(path, aside)
        _called("mount", "-t", "tmpfs", "-o", f"size={_DISK},mode=700", "tmpfs", str(path))
        shutil.copytree(aside, path, dirs_exist_ok=True)
    try:
        yield
    finally:
        with _down(hospitals, program):
            shutil.rmtree(aside)
            shutil.copytree(path, aside)
            _called("umount", str(path))
            shutil.copytree(aside, path, dirs_exist_ok=True)
            shutil.rmtree(aside)


@contextmanager
def _down(hospitals: Hospitals, program: str) -> Iterator[None]:
    if program:
        hospitals.programs.kill(program, signal.SIGTERM)
    yield
    if program:
        hospitals.programs.start_again(program)


def fill(folder: str, program: str) -> Strike:
    """The disk of ``folder`` is full until ``program`` has said so and named the folder."""

    def strike(hospitals: Hospitals, _: str) -> None:
        path = hospitals.folder / folder
        filler, before = path / "filler", len(hospitals.programs.log(program))

        def said() -> bool:
            told = hospitals.programs.log(program)[before:].splitlines()
            return any(str(path) in line and "free space" in line for line in told)

        try:
            with filler.open("wb", buffering=0) as file, suppress(OSError):
                while file.write(bytes(2**12)):
                    pass
            hospitals.programs.until(said, f"{program} saying that {path} is full", 180)
        finally:
            filler.unlink()

    return strike


# Clocks and certificates.


def clock_ahead(seconds: int) -> Strike:
    """A hospital is started with another clock, and with the right one once its SuperNode has ended."""

    def strike(hospitals: Hospitals, site: str) -> None:
        names = [f"{site}-{part}" for part in PARTS]
        for name in names:
            hospitals.programs.kill(name)
        with _clock(seconds, hospitals.folder / "clock"):
            for name in names:
                hospitals.programs.start_again(name)
        hospitals.programs.exit_code(f"{site}-supernode", 300)  # which says why
        for name in names:
            hospitals.programs.kill(name)
        for name in names:
            hospitals.back(name)

    return strike


# faketime leaves the clock by which timeouts are measured alone; time.sleep, which uses it, then fails.
_SLEEP = """\
import select
import time

time.sleep = lambda seconds: select.select([], [], [], seconds)
"""


@contextmanager
def _clock(ahead: int, folder: Path) -> Iterator[None]:
    """What is started meanwhile has a clock that is so many seconds ahead."""
    write_whole(folder / "sitecustomize.py", _SLEEP.encode())
    changed = {
        "LD_PRELOAD": str(next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))),
        "FAKETIME": f"{ahead:+d}",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
    }
    with patch.dict(os.environ, changed):
        yield


def revoke(hospitals: Hospitals, site: str) -> None:
    """The coordinator puts a hospital out."""
    hospitals.at_coordinator("revoke", site, "--why", "a stolen laptop")
    hospitals.reload()


def expire(hospitals: Hospitals, site: str) -> None:
    """A hospital's certificate runs out, and is replaced once its SuperNode has ended."""
    file = (hospitals.connection(site) / "client.crt").resolve()
    good, key = file.read_bytes(), read_private_key(file.with_name("client.key")).public_key()
    a_day_ago = utc_now() - timedelta(days=1) + timedelta(seconds=5)
    authority = Folder(hospitals.coordinator).member_authority("site")
    write_whole(file, certificate_pem(authority.client(site, key, 1, a_day_ago)).encode())
    time.sleep(6)
    hospitals.killed_and_back(f"{site}-gateway")  # a connection that was made before would go on
    hospitals.programs.exit_code(f"{site}-supernode", 300)  # which says why
    write_whole(file, good)
    hospitals.back(f"{site}-supernode")


# What has to be there.


def missing(*programs: str) -> str:
    """Why something cannot be tried here; empty if it can."""
    absent = [name for name in programs if _found(name) is None]
    if os.geteuid() != 0:
        return "not root"
    return f"no {', '.join(absent)}" if absent else ""


def _called(program: str, *words: str) -> None:
    done = subprocess.run([_found(program) or program, *words], check=False, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        raise RunError(f"{program} {' '.join(words)}: {done.stderr}")


def _found(program: str) -> str | None:
    return shutil.which(program, path=f"/usr/sbin:/sbin:{os.environ['PATH']}")
