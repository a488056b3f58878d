"""A whole federation as real processes on loopback, set up by the commands that its people type.

Coordinator: SuperLink, launcher, nginx. Each hospital: custodian, launcher, SuperNode, gateway. A
researcher's tunnel, through which the stock ``flwr`` command runs studies.
"""

import json
import shutil
import signal
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

from client_app.cli import commands as site_commands
from federation.errors import RunError
from server_app.coordinator import commands as coordinator_commands
from simulation.members import PARTS, Hospital, Researcher, approve, join, start_coordinator, typed
from simulation.programs import ROOT, Programs, free_ports

SITES = ("alder", "birch", "cedar", "dogwood")
SITE = """
name: {name}
description: a hospital of the tests
declared_patients: 110
data: {{parts: [{part}], of: 4}}
policy:
  purposes: ["*"]
  tasks: [tasks.nodule_ct]
  task_options: any
  networks: ["monai.*"]
  privacy_modes: [local]
  aggregation: [secure, plain]
  minimum_colluding: 0
  metrics: [score_histograms]
  maximum_epsilon: 10.0
  maximum_delta: 1.0e-4
  lifetime: {{epsilon: 300.0, delta: 1.0e-5, against: everybody}}
  minimum_patients: 10
  minimum_hospitals: 1
service:
  folder: {folder}/custodian
  relay: {folder}/relay/relay.sock
  admin: {folder}/admin/admin.sock
"""
# A tiny network that begins at once: what is tried is how messages travel.
STUDY = {
    "federation": "hospitals",
    "model.arguments.channels": "[4,4]",
    "model.arguments.strides": "[2,2]",
    "model.arguments.norm": "[group,{num_groups:2}]",
    "pretraining.examples": "64",
    "training.steps": "2",
    "rounds": "2",
    "quorum": "2",
}


class Hospitals:
    """See the module; ``SITES`` take part.

    Args:
        programs: who starts and kills them.
        sites: the hospitals' names.
    """

    def __init__(self, programs: Programs, sites: Sequence[str] = SITES) -> None:
        self.programs = programs
        self.folder = programs.folder
        self.sites = sites
        self.members = list(sites)
        self.coordinator = self.studies = self.folder / "coordinator"
        ports = free_ports(4 + 2 * (len(sites) + 1))  # one more may join
        self.superlink_port, self.sites_port, self.control_port, self.tunnel_port = ports[:4]
        self._gateway_ports, self._runtime_ports = ports[4::2], ports[5::2]
        self._ada = Researcher(programs, "trial", self.folder / "ada", self.tunnel_port)

    def set_up(self) -> Self:
        """Everybody joins and starts."""
        self._coordinator()
        self.start_coordinator()
        for part, name in enumerate(self.sites):
            self._site(name, part)
            self.join(name)
            self._begin(name)
        for name in self.sites:
            self.until_custodian(name)
        self.roster()
        self._researcher()
        self._app()
        return self

    # What people type.

    def at_coordinator(self, *arguments: object) -> str:
        """What ``wardround-coordinator`` says."""
        return typed(coordinator_commands, *arguments, WARDROUND_COORDINATOR=self.coordinator)

    def at_site(self, name: str, *arguments: object) -> str:
        """What a hospital's ``wardround-site`` says."""
        return typed(site_commands, *arguments, WARDROUND_SITE=self.site(name) / "site.yaml")

    def site(self, name: str) -> Path:
        """A hospital's folder."""
        return self.folder / name

    def connection(self, name: str) -> Path:
        """What it made and got to be a member."""
        return self.site(name) / "connection"

    def _coordinator(self) -> None:
        settings = self.folder / "federation.yaml"
        settings.write_text(
            f"name: trial\naddress: 127.0.0.1\nsites_port: {self.sites_port}\n"
            f"control_port: {self.control_port}\nsuperlink: 127.0.0.1:{self.superlink_port}\n"
            f"run: {self.folder}/nginx\n"
        )
        self.at_coordinator("provision", settings, "--to", self.coordinator)

    def _site(self, name: str, part: int) -> None:
        folder = self.site(name)
        for made in (folder, folder / "relay", folder / "admin"):
            made.mkdir()
        (folder / "site.yaml").write_text(SITE.format(name=name, part=part, folder=folder))

    def runtime_port(self, name: str) -> int:
        """Where a hospital's SuperNode hands out messages."""
        return self._runtime_ports[self.members.index(name)]

    def gateway_port(self, name: str) -> int:
        """Where a hospital's gateway expects its SuperNode."""
        return self._gateway_ports[self.members.index(name)]

    def join(self, name: str, *options: str) -> None:
        """Become a member: a request one way, a kit the other."""
        kit = self.folder / f"{name}.kit.json"
        join(partial(self.at_site, name), self.at_coordinator, self.connection(name), kit, *options)
        self.reload()

    def _researcher(self) -> None:
        connection, kit = self.folder / "ada", self.folder / "ada.kit.json"
        here = self.at_coordinator
        join(here, here, connection, kit, "--name", "ada", researcher=True)
        self.reload()
        self._ada.start()

    def _app(self) -> None:
        unpacked(self.folder / "app")
        self.federation("hospitals", self.sites)

    def federation(self, name: str, sites: Sequence[str], deadline: int = 60) -> None:
        """Let the researcher choose ``federation=NAME``."""
        names = "".join(f"  {site}: {{}}\n" for site in sites)
        (self.folder / f"app/conf/federation/{name}.yaml").write_text(
            f"name: {name}\nsites:\n{names}deadline: {deadline}\npatience: 90\n"
        )

    def roster(self) -> None:
        """Everybody's key in one signed list, which everybody pins."""
        files = [self._key(name) for name in self.sites]
        self.at_coordinator("roster", "create", *files, "--key", self._roster_key, "--to", self._roster)
        self._pin()

    def grow(self, name: str) -> None:
        """A further hospital joins, and may be in studies of ``federation=grown``."""
        self.members.append(name)
        self._site(name, 0)
        self.join(name)
        self.start_site(name)
        added = ("--add", self._key(name))
        self.at_coordinator("roster", "change", self._roster, "--key", self._roster_key, *added)
        self._pin()
        self.federation("grown", self.members)

    @property
    def _roster(self) -> Path:
        return self.studies / "roster.json"

    @property
    def _roster_key(self) -> Path:
        return self.coordinator / "roster.key"

    def _key(self, name: str) -> Path:
        file = self.folder / f"{name}.key.json"
        self.at_site(name, "roster", "key", "--to", file)
        return file

    def _pin(self) -> None:
        for name in self.members:
            self.at_site(name, "roster", "pin", self._roster, "--by", "Dr. Frei", "--yes")

    # Processes.

    def start_coordinator(self) -> None:
        """Start SuperLink, launcher and gateway."""
        start_coordinator(self.programs, self.coordinator, self.superlink_port, self.sites_port)

    def reload(self) -> None:
        """Have nginx read its lists anew."""
        self.programs.kill("nginx", signal.SIGHUP, wait=False)
        time.sleep(0.5)

    def start_site(self, name: str) -> None:
        """Start all of a hospital's processes, and wait for its custodian."""
        self._begin(name)
        self.until_custodian(name)

    def _begin(self, name: str) -> None:
        for part in PARTS:
            self.start_part(name, part)

    def _hospital(self, name: str) -> Hospital:
        ports = self.gateway_port(name), self.runtime_port(name)
        return Hospital(self.programs, self.site(name), self.site(name), *ports)

    def until_custodian(self, name: str) -> None:
        """Wait until it answers: what is asked before would not be in its inbox."""
        self._hospital(name).until_open()

    def start_part(self, name: str, part: str) -> None:
        """Start one of a hospital's processes."""
        self._hospital(name).start(part, WARDROUND_CACHE=str(self.folder / "cache"))

    # Studies.

    def run(self, **changes: object) -> int:
        """Have the researcher run a study; returns Flower's number of the run."""
        settings = STUDY | {key.replace("__", "."): value for key, value in changes.items()}
        return self._flwr_run([f"{key}={value}" for key, value in settings.items()])

    def resume(self, folder: Path) -> int:
        """Have another run go on with that one."""
        return self._flwr_run([f"resume={folder.name}"])

    def _flwr_run(self, overrides: list[str]) -> int:
        return self._ada.run(self.folder / "app", overrides)

    def approve(self) -> None:
        """Everybody agrees to what waits in their inbox."""
        for name in self.members:
            approve(partial(self.at_site, name), "Dr. Frei")

    def run_folder(self, run: int) -> Path:
        """Where its record is."""
        return self.studies / "runs" / f"flower-{run}"

    def summary(self, run: int) -> dict[str, Any]:
        """``summary.json``; empty while there is none."""
        path = self.run_folder(run) / "summary.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def ended_at_flower(self, run: int, seconds: float = 180) -> None:
        """Wait until Flower says that a run is over, whatever became of it."""
        self.programs.until(lambda: self.is_over_at_flower(run), f"the end of run {run} at Flower", seconds)

    def is_over_at_flower(self, run: int) -> bool:
        """Whether Flower says that a run is over."""
        answer = self._ada.flwr("ls", "trial", "--run-id", run)
        return bool(answer["success"]) and str(answer["runs"][0]["status"]).startswith("finished")

    def completed(self, run: int, seconds: float = 400) -> None:
        """Wait until a run that went on has ended well."""
        self.programs.until(
            lambda: self.summary(run).get("status") == "completed", f"the end of run {run}", seconds
        )

    def until_rounds(self, run: int, count: int, seconds: float = 300) -> None:
        """Wait until so many rounds are on record."""
        self.programs.until(lambda: len(self.rounds(run)) >= count, f"round {count} of {run}", seconds)

    def killed_and_back(self, name: str) -> None:
        """SIGKILL, and start again as Docker would."""
        # A container goes as a whole. Of a launcher's children it is tried that they go by themselves.
        self.programs.kill(name, whole=name == "nginx")
        self.back(name)

    def back(self, name: str) -> None:
        """Start again what has ended, as Docker would: with a pause that grows, until it stays."""
        for pause in (0, 10, 20, 40, 60):
            time.sleep(pause)
            if self._stays(name):
                return
        raise RunError(f"{name} does not stay up\n{self.programs.log(name)[-2000:]}")

    def _stays(self, name: str) -> bool:
        """Start it again; whether it stays. Flower may refuse a SuperNode that it believes still there."""
        let_in = self._let_in(name)
        self.programs.start_again(name)
        time.sleep(8)
        if name.endswith("-supernode"):
            self.programs.until(
                lambda: not self.programs.running(name) or self._let_in(name) > let_in, f"an answer to {name}"
            )
        return self.programs.running(name)

    def _let_in(self, supernode: str) -> int:
        return self.programs.log(supernode).count("SuperNode ID")

    def ended(self, run: int, seconds: float = 300) -> dict[str, Any]:
        """The run's summary, once it is there."""
        summary = self.run_folder(run) / "summary.json"
        self.programs.until(summary.exists, f"the end of run {run}", seconds)
        return self.summary(run)

    def approved_run(self, **changes: object) -> int:
        """A run of a study to which everybody has agreed; the first one is refused for the lack of it."""
        refused = self.ended(self.run(**changes))
        if "not-approved" not in refused["reason"]:
            raise RunError(f"a study that nobody has approved: {refused}")
        self.approve()
        return self.run(**changes)

    def rounds(self, run: int) -> list[dict[str, Any]]:
        """Those on record."""
        path = self.run_folder(run) / "metrics.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in map(json.loads, lines) if line["event"] == "round"]


def unpacked(to: Path, *more: str) -> Path:
    """A release's folder as a researcher has it, with ``more`` of what its bundle leaves out."""
    for part in ("client_app", "server_app", "federation", "tasks", "conf", *more):
        shutil.copytree(ROOT / part, to / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / part, to / part)
    for part in {"simulation", "tests", "docs"} - {*more}:  # flwr asks for each part that it leaves out
        (to / part).mkdir()
        (to / part / "empty.py").touch()
    return to
