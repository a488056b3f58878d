"""What ``federation.sbatch`` runs: the commands that people type elsewhere, in their order.

The first node has the coordinator (gateway, SuperLink, launcher) and a researcher's tunnel; each Slurm task
is a hospital (custodian, gateway, SuperNode, launcher). Nobody decides here: what reaches a hospital's inbox
is approved, so the patients have to be public or simulated.
"""

import json
import math
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

import yaml

from client_app.site import SiteConfig, simulated_site
from federation.config import compose_run
from federation.errors import ConfigError, RunError, WardroundError
from federation.flower_programs import ENVIRONMENT
from federation.run_config import run_config_file

BIN = Path(sys.executable).parent
COORDINATOR, SITE, FLWR = (BIN / name for name in ("wardround-coordinator", "wardround-site", "flwr"))
# Of hospitals that say nothing of their size; right by a factor of two for the default study.
DECLARED_PATIENTS = 110
PATIENCE = 600.0


class Processes:
    """Programs that run until the ``with`` block ends; each has a log in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._running.values()):
            process.terminate()
        for process in self._running.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()

    def start(self, name: str, *command: object, **environment: str) -> subprocess.Popen[bytes]:
        """Start a program."""
        with (self._folder / f"{name}.log").open("ab") as log:
            words, known = [str(word) for word in command], {**os.environ, **ENVIRONMENT, **environment}
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=known)  # noqa: S603
        self._running[name] = process
        return process

    def until(self, holds: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
        """Wait for something that the programs do.

        Raises:
            RunError: one of them has ended, or it takes too long.
        """
        end = time.monotonic() + seconds
        while not holds():
            for name, process in self._running.items():
                if process.poll() is not None:
                    raise RunError(f"{name} has ended; {self._folder}/{name}.log says why")
            if time.monotonic() > end:
                raise RunError(f"{what} did not happen within {seconds:g} s; see the logs in {self._folder}")
            time.sleep(0.2)


def command(*words: object, **environment: str) -> str:
    """The output of a command that has to go well.

    Raises:
        RunError: it did not.
    """
    known = {**os.environ, **ENVIRONMENT, **environment}
    done = subprocess.run(  # noqa: S603
        [str(word) for word in words], check=False, capture_output=True, text=True, env=known
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise RunError(f"{' '.join(map(str, words))}: exit code {done.returncode}: {said[-1000:]}")
    return done.stdout


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on just now, all different."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("", 0))) for _ in range(count)]
        return [probe.getsockname()[1] for probe in probes]


def listening(port: int) -> bool:
    """Whether somebody answers there, on this node."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Job:
    """The job's folder, and what lies where in it.

    Args:
        folder: on a disk that all nodes see.
        name: by which its folders on the nodes are told from others'.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self.coordinator = folder / "coordinator"
        self.roster = self.coordinator / "roster.json"
        self.decide = folder / "decide"
        self.end = folder / "end"

    def site(self, name: str) -> Path:
        """A hospital's folder, which its own tasks alone write to."""
        return self.folder / "sites" / name

    def sockets(self, name: str) -> Path:
        """On the hospital's own node, since sockets are a node's; their paths have to be short."""
        return Path(tempfile.gettempdir()) / f"wardround-{self.name}-{name}"


# The coordinator's node.


def coordinate(job: Job, overrides: list[str]) -> int:
    """Set the federation up, run the study, and return the exit code of its run."""
    run = compose_run(overrides)
    names, tasks = list(run.federation.sites), int(os.environ["SLURM_NTASKS"])
    if tasks != len(names):
        raise ConfigError(
            f"federation {run.federation.name} has {len(names)} hospitals: --ntasks={len(names)}"
        )
    nginx = shutil.which("nginx")
    if nginx is None:
        raise ConfigError(
            "nginx is not on this node, and it is the coordinator's gateway; install or load it"
        )
    logs = job.folder / "logs"
    logs.mkdir(parents=True)
    sites_port, control_port, superlink, tunnel = free_ports(4)
    (job.folder / "federation.yaml").write_text(
        f"name: slurm\naddress: {own_address()}\nsites_port: {sites_port}\n"
        f"control_port: {control_port}\nsuperlink: 127.0.0.1:{superlink}\nrun: {job.folder}/nginx\n"
    )
    (job.folder / "nginx").mkdir()
    at_coordinator("provision", job.folder / "federation.yaml", "--to", job.coordinator)
    folder = ("--folder", job.coordinator)
    with Processes(logs) as processes:
        address = f"127.0.0.1:{superlink}"
        database = job.folder / "superlink.db"
        processes.start(
            "superlink", COORDINATOR, "superlink", *folder, "--database", database, "--listen", address,
            FLWR_HOME=str(job.folder / "flower"),
        )  # fmt: skip
        processes.start("launcher", COORDINATOR, "launcher", *folder, "--runtime", address)
        gateway = ("-e", "stderr", "-p", job.coordinator / "gateway", "-c", "nginx.conf")
        web = processes.start("nginx", nginx, *gateway)
        processes.until(lambda: listening(superlink) and listening(control_port), "the coordinator's start")
        for name in names:
            make_site(job, simulated_site(run.federation, run.site, name))
            join(job, ("init", "--to", job.site(name) / "connection"), job.site(name) / "connection", SITE)
        researcher = job.folder / "researcher"
        join(job, ("researcher", "init", "--name", "slurm", "--to", researcher), researcher, COORDINATOR)
        web.send_signal(signal.SIGHUP)
        processes.start(
            "tunnel", COORDINATOR, "tunnel", "--connection", researcher, "--listen", f"127.0.0.1:{tunnel}"
        )
        script = Path(__file__).absolute()
        hospitals = processes.start(
            *("srun", "srun", "--overlap", f"--ntasks={tasks}", "--kill-on-bad-exit=1"),
            f"--output={logs}/site-%t.log", sys.executable, script, "--site", job.folder, job.name, *names,
        )  # fmt: skip
        try:
            code, number = study(job, processes, names, overrides, tunnel)
        finally:
            job.end.touch()
            with suppress(subprocess.TimeoutExpired):
                hospitals.wait(60)  # whom srun kills, told to end
        (job.folder / "run").symlink_to(Path("coordinator") / "runs" / f"flower-{number}")
    return code


def study(
    job: Job, processes: Processes, names: list[str], overrides: list[str], tunnel: int
) -> tuple[int, int]:
    """Run the study once everybody is there and has approved it; the exit code, and Flower's number."""
    keys = [job.folder / f"{name}.key.json" for name in names]
    processes.until(lambda: listening(tunnel) and all(key.exists() for key in keys), "the hospitals' start")
    made = job.folder / "roster.json"
    at_coordinator("roster", "create", *keys, "--key", job.coordinator / "roster.key", "--to", made)
    made.rename(job.roster)
    processes.until(lambda: answered(job, names, "pinned"), "the roster's pinning")
    # The first run only brings the study into the hospitals' inboxes.
    watch(start(job, overrides, tunnel), tunnel)
    job.decide.touch()
    processes.until(lambda: answered(job, names, "decided"), "the approvals")
    number = start(job, overrides, tunnel)
    return watch(number, tunnel), number


def own_address() -> str:
    """An address of this node under which the others reach it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # which sends nothing
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def at_coordinator(*words: object) -> str:
    """A command of the coordinator's that needs no folder, or names it."""
    return command(COORDINATOR, *words)


def make_site(job: Job, site: SiteConfig) -> None:
    """A hospital's site.yaml, as its people would write it."""
    folder, sockets = job.site(site.name), job.sockets(site.name)
    folder.mkdir(parents=True)
    values = site.model_dump(mode="json", exclude={"approval"}) | {
        "declared_patients": site.declared_patients or DECLARED_PATIENTS,
        "description": site.description or f"simulated hospital {site.name}",
        "service": {
            "folder": str(folder / "custodian"),
            "relay": str(sockets / "relay" / "relay.sock"),
            "admin": str(sockets / "admin" / "admin.sock"),
        },
    }
    (folder / "site.yaml").write_text(yaml.safe_dump(values, sort_keys=False))


def join(job: Job, init: tuple[object, ...], connection: Path, program: Path) -> None:
    """Become a member: a request one way, a kit the other. Nobody has to telephone within one job."""
    config = {"WARDROUND_SITE": str(connection.parent / "site.yaml")}
    kit = job.folder / f"{connection.parent.name}-{connection.name}.kit.json"
    command(program, *init, **config)
    admit = ("admit", connection / "request.json", "--to", kit, "--yes", "--folder", job.coordinator)
    at_coordinator(*admit)
    group = ("researcher",) if program == COORDINATOR else ()
    command(program, *group, "install", kit, "--to", connection, "--yes", **config)


def answered(job: Job, names: list[str], what: str) -> bool:
    """Whether all hospitals have said that they have done it."""
    return all((job.site(name) / what).exists() for name in names)


def start(job: Job, overrides: list[str], tunnel: int) -> int:
    """Have the run started; returns Flower's number."""
    home = job.folder / "flwr"
    home.mkdir(exist_ok=True)
    connection = f'[superlink.slurm]\naddress = "127.0.0.1:{tunnel}"\ninsecure = true\n'
    (home / "config.toml").write_text(connection)
    config = home / "run.toml"
    config.write_text(run_config_file(overrides))
    told = command(FLWR, "run", ".", "slurm", "--run-config", config, "--format", "json", FLWR_HOME=str(home))
    answer = json.loads(told[told.index("{") :])
    if not answer.get("success"):
        raise RunError(f"flwr run: {answer}")
    return int(answer["run-id"])


def watch(run: int, tunnel: int) -> int:
    """Show a run in the job's own log until it is over."""
    words = [str(word) for word in (COORDINATOR, "watch", run, "--through", f"127.0.0.1:{tunnel}")]
    return subprocess.run(words, check=False).returncode  # noqa: S603


# A hospital's node.


def serve(job: Job, name: str) -> None:
    """One hospital, until the job ends its step."""
    folder, sockets = job.site(name), job.sockets(name)
    connection = ("--connection", folder / "connection")
    (folder / "logs").mkdir()
    sockets.mkdir(mode=0o700)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    gateway, runtime = (f"127.0.0.1:{port}" for port in free_ports(2))
    try:
        with Processes(folder / "logs") as processes:
            for part in ("relay", "admin"):
                (sockets / part).mkdir()
            processes.start("custodian", SITE, "custodian", "--config", folder / "site.yaml")
            processes.start("gateway", SITE, "gateway", *connection, "--listen", gateway)
            processes.start(
                "supernode", SITE, "supernode", *connection, "--gateway", gateway, "--runtime", runtime,
                "--custodian", sockets / "relay" / "relay.sock", FLWR_HOME=str(folder / "flower"),
            )  # fmt: skip
            processes.start("launcher", SITE, "launcher", *connection, "--runtime", runtime)
            processes.until((sockets / "admin" / "admin.sock").exists, f"{name}'s custodian")
            key = job.folder / f"{name}.key.json"
            at_site(folder, "roster", "key", "--to", folder / "key.json")
            (folder / "key.json").rename(key)
            processes.until(job.roster.exists, "the coordinator's roster")
            at_site(folder, "roster", "pin", job.roster, "--by", "slurm", "--yes")
            (folder / "pinned").touch()
            processes.until(job.decide.exists, "the study")
            for study in inbox(folder):
                at_site(folder, "study", "approve", study, "--by", "slurm", "--until", "2999-12-31")
            (folder / "decided").touch()
            processes.until(job.end.exists, "the job's end", math.inf)
    finally:
        shutil.rmtree(sockets)


def at_site(folder: Path, *words: object) -> str:
    """A command of the hospital's people."""
    return command(SITE, *words, WARDROUND_SITE=str(folder / "site.yaml"))


def inbox(folder: Path) -> list[str]:
    """The ids of the studies that wait."""
    lines = [line.split() for line in at_site(folder, "study", "inbox").splitlines() if "waiting" in line]
    return [words[0] for words in lines]


def main() -> int:
    """Be the coordinator, or with ``--site FOLDER JOB NAME...`` the task's hospital."""
    try:
        if sys.argv[1:2] == ["--site"]:
            where, name, *names = sys.argv[2:]
            serve(Job(Path(where), name), names[int(os.environ["SLURM_PROCID"])])
            return 0
        number = os.environ["SLURM_JOB_ID"]
        folder = Path("runs").absolute() / f"slurm-{number}"
        return coordinate(Job(folder, f"{number}-{secrets.token_hex(4)}"), sys.argv[1:])
    except WardroundError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
