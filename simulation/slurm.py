"""What ``scripts/slurm/federation.sbatch`` runs: the commands that people type elsewhere, in their order.

The first node has the coordinator (gateway, SuperLink, launcher) and a researcher's tunnel; each Slurm task
is a hospital (custodian, gateway, SuperNode, launcher). Nobody decides here: what reaches a hospital's inbox
is approved, so the patients have to be public or simulated. What one node tells another is a file in the
job's folder.
"""

import math
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path

import yaml

from client_app.cli import commands as site_commands
from client_app.site import SiteConfig, simulated_site
from federation.config import compose_run
from federation.errors import ConfigError, RunError, WardroundError
from federation.flower_programs import quiet_flower
from server_app.coordinator import commands as coordinator_commands
from simulation.members import (
    COORDINATOR,
    PARTS,
    SITE,
    Hospital,
    Researcher,
    approve,
    join,
    start_coordinator,
    typed,
)
from simulation.programs import ROOT, Programs, free_ports

# Of hospitals that say nothing of their size; right by a factor of two for the default study.
DECLARED_PATIENTS = 110
PATIENCE = 600.0


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

    def key(self, name: str) -> Path:
        """What a hospital brings for the roster."""
        return self.folder / f"{name}.key.json"

    def sockets(self, name: str) -> Path:
        """On the hospital's own node, since sockets are a node's; their paths have to be short."""
        return Path(tempfile.gettempdir()) / f"wardround-{self.name}-{name}"

    def answered(self, names: list[str], what: str) -> bool:
        """Whether all hospitals have said that they have done it."""
        return all((self.site(name) / what).exists() for name in names)

    def at_coordinator(self, *words: object) -> str:
        """What ``wardround-coordinator`` says."""
        return typed(coordinator_commands, *words, WARDROUND_COORDINATOR=self.coordinator)

    def config(self, name: str) -> Path:
        """A hospital's site.yaml."""
        return self.site(name) / "site.yaml"


# The coordinator's node.


def coordinate(job: Job, overrides: list[str]) -> int:
    """Set the federation up, run the study, and return the exit code of its run."""
    run = compose_run(overrides)
    names, tasks = list(run.federation.sites), int(os.environ["SLURM_NTASKS"])
    if tasks != len(names):
        raise ConfigError(
            f"federation {run.federation.name} has {len(names)} hospitals: --ntasks={len(names)}"
        )
    job.folder.mkdir(parents=True)
    sites_port, control_port, superlink, tunnel = free_ports(4)
    settings = job.folder / "federation.yaml"
    settings.write_text(
        f"name: slurm\naddress: {own_address()}\nsites_port: {sites_port}\n"
        f"control_port: {control_port}\nsuperlink: 127.0.0.1:{superlink}\nrun: {job.folder}/nginx\n"
    )
    job.at_coordinator("provision", settings, "--to", job.coordinator)
    with Programs(job.folder, patience=PATIENCE, steady=True) as programs:
        start_coordinator(programs, job.coordinator, superlink, control_port)
        for name in names:
            make_site(job, simulated_site(run.federation, run.site, name))
            kit = job.folder / f"{name}.kit.json"
            at_site = partial(typed, site_commands, WARDROUND_SITE=job.config(name))
            join(at_site, job.at_coordinator, job.site(name) / "connection", kit)
        connection, kit = job.folder / "researcher", job.folder / "researcher.kit.json"
        here = job.at_coordinator
        join(here, here, connection, kit, "--name", "slurm", researcher=True)
        programs.kill("nginx", signal.SIGHUP, wait=False)
        researcher = Researcher(programs, "slurm", connection, tunnel)
        researcher.start()
        hospital = (sys.executable, "-m", "simulation.slurm", "--site", job.folder, job.name, *names)
        once = ("--overlap", f"--ntasks={tasks}", "--kill-on-bad-exit=1")
        programs.start("hospitals", "srun", *once, f"--output={job.folder}/site-%t.log", *hospital)
        try:
            return study(job, programs, names, researcher, overrides)
        finally:
            job.end.touch()
            with suppress(RunError):
                programs.exit_code("hospitals", 60)


def study(
    job: Job, programs: Programs, names: list[str], researcher: Researcher, overrides: list[str]
) -> int:
    """Run the study once everybody is there and has approved it; the exit code of its run."""
    keys = [job.key(name) for name in names]
    programs.until(lambda: all(key.exists() for key in keys), "the hospitals' start")
    made = job.folder / "roster.json"
    job.at_coordinator("roster", "create", *keys, "--key", job.coordinator / "roster.key", "--to", made)
    made.rename(job.roster)
    programs.until(lambda: job.answered(names, "pinned"), "the roster's pinning")
    # The first run only brings the study into the hospitals' inboxes.
    watch(researcher, researcher.run(ROOT, overrides))
    job.decide.touch()
    programs.until(lambda: job.answered(names, "decided"), "the approvals")
    number = researcher.run(ROOT, overrides)
    (job.folder / "run").symlink_to(Path("coordinator") / "runs" / f"flower-{number}")
    return watch(researcher, number)


def own_address() -> str:
    """An address of this node under which the others reach it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # which sends nothing
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


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
    job.config(site.name).write_text(yaml.safe_dump(values, sort_keys=False))


def watch(researcher: Researcher, run: int) -> int:
    """Show a run in the job's own log until it is over."""
    words = [str(word) for word in (COORDINATOR, "watch", run, "--through", researcher.address)]
    return subprocess.run(words, check=False).returncode  # noqa: S603


# A hospital's node.


def serve(job: Job, names: list[str]) -> None:
    """One hospital of ``names``, until the job ends its step."""
    name, on_this_node = names[int(os.environ["SLURM_PROCID"])], int(os.environ["SLURM_LOCALID"])
    folder, sockets = job.site(name), job.sockets(name)
    sockets.mkdir(mode=0o700)
    try:
        with Programs(folder, patience=PATIENCE, steady=True) as programs:
            for part in ("relay", "admin"):
                (sockets / part).mkdir()
            # In processes of their own: an approval loads Torch, which would stay here as long as the job.
            at_site = partial(programs.run, SITE, WARDROUND_SITE=str(job.config(name)))
            # The node's other hospitals choose at the same time, before any of these listens.
            ports = free_ports(2, share=on_this_node, of=len(names))
            hospital = Hospital(programs, folder, sockets, *ports)
            for part in PARTS:
                hospital.start(part)
            hospital.until_open()
            at_site("roster", "key", "--to", folder / "key.json")
            (folder / "key.json").rename(job.key(name))
            programs.until(job.roster.exists, "the coordinator's roster")
            at_site("roster", "pin", job.roster, "--by", "slurm", "--yes")
            (folder / "pinned").touch()
            programs.until(job.decide.exists, "the study")
            approve(at_site, "slurm")
            (folder / "decided").touch()
            programs.until(job.end.exists, "the job's end", math.inf)
    finally:
        shutil.rmtree(sockets)


def end(*_: object) -> None:
    """What SIGTERM does, once: whatever was started ends."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + signal.SIGTERM)


def main() -> int:
    """Be the coordinator, or with ``--site FOLDER JOB NAME...`` the task's hospital."""
    signal.signal(signal.SIGTERM, end)
    quiet_flower()
    try:
        if sys.argv[1:2] == ["--site"]:
            where, name, *names = sys.argv[2:]
            serve(Job(Path(where), name), names)
            return 0
        number = os.environ["SLURM_JOB_ID"]
        folder = Path("runs").absolute() / f"slurm-{number}"
        return coordinate(Job(folder, f"{number}-{secrets.token_hex(4)}"), sys.argv[1:])
    except WardroundError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
