"""A Slurm cluster of one node, this machine, for tests: munged, slurmctld and slurmd."""

import os
import shutil
import socket
from contextlib import contextmanager

import psutil

from simulation.processes import ending_processes
from simulation.programs import Programs, free_ports

NEEDED = {
    "munged": "munge",
    "slurmctld": "slurm-wlm",
    "slurmd": "slurm-wlm",
    "srun": "slurm-wlm",
    "nginx": "nginx-light",
}
_CONFIG = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
SlurmdPort={node}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing():
    """Why no cluster can be started here; empty where one can."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    packages = {package for program, package in NEEDED.items() if not shutil.which(program, path=path)}
    if packages:
        return f"a Slurm cluster needs apt-get install {' '.join(sorted(packages))}"
    return "" if os.geteuid() == 0 else "slurmd starts jobs as others, which takes root"


class Cluster:
    """See the module.

    Args:
        programs: who starts and kills its daemons.
    """

    def __init__(self, programs) -> None:
        self.programs = programs
        self.folder = programs.folder / "slurm"
        self.config = self.folder / "slurm.conf"

    @classmethod
    @contextmanager
    def running(cls, folder):
        """A cluster with its logs in ``folder``; none of its processes outlives the block, and no job's."""
        # A job's processes are in sessions of their own, whom nobody but their parents finds.
        with ending_processes(), Programs(folder) as programs:
            cluster = cls(programs)
            cluster.start()
            try:
                yield cluster
            finally:
                cluster.ask("scancel", "--user=root")
                programs.until(lambda: not cluster.ask("squeue", "--noheader"), "the end of all jobs")

    def start(self):
        for made in (self.folder, self.folder / "state", self.folder / "spool"):
            made.mkdir(mode=0o755)
        control, node = free_ports(2)
        host = socket.gethostname().partition(".")[0]
        self.config.write_text(_CONFIG.format(host=host, control=control, node=node, folder=self.folder))
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        files = {
            "key-file": key,
            "socket": self.folder / "munge.socket",
            "pid-file": self.folder / "munge.pid",
        }
        files |= {"log-file": self.folder / "munge.log", "seed-file": self.folder / "munge.seed"}
        options = [f"--{name}={path}" for name, path in files.items()]
        self.programs.start("munged", "munged", "--foreground", "--force", *options)
        self.programs.until((self.folder / "munge.socket").exists, "munged")
        self.programs.start("slurmctld", "slurmctld", "-D", SLURM_CONF=str(self.config))
        self.programs.until_listening(control)
        self.programs.start("slurmd", "slurmd", "-D", "-N", host, SLURM_CONF=str(self.config))
        self.programs.until(lambda: "idle" in self.ask("sinfo", "--noheader", "--format=%T"), "an idle node")

    def ask(self, *command, **environment):
        return self.programs.run(*command, SLURM_CONF=str(self.config), **environment)

    def submit(self, folder, *command, **environment):
        """Submit a job from ``folder``; returns its number."""
        return int(self.ask("sbatch", "--parsable", f"--chdir={folder}", *command, **environment))

    def state(self, job):
        """Its state and exit code, in Slurm's words."""
        told = self.ask("scontrol", "show", "job", job)
        fields = dict(word.partition("=")[::2] for word in told.split() if "=" in word)
        return fields["JobState"], fields["ExitCode"]


def processes_of(folder):
    """What still runs of a cluster or a release in ``folder``, which its words or its environment name."""
    found = []
    for process in psutil.process_iter():
        try:
            known = (*process.cmdline(), *process.environ().values())
        except psutil.Error:
            continue
        if process.pid != os.getpid() and any(str(folder) in word for word in known):
            found.append(process)
    return found
