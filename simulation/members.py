"""What people of a deployed federation type, and the programs that they start, for whoever rehearses one.

Tests, benchmarks and the Slurm job set a federation up differently; what is the same each time stands here.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner

from client_app.desk.client import AdminClient
from federation.errors import ConfigError, RunError
from federation.run_config import run_config_file
from simulation.programs import BIN, Programs

COORDINATOR, SITE = BIN / "wardround-coordinator", BIN / "wardround-site"
PARTS = ("custodian", "gateway", "supernode", "launcher")
# Takes a command's words, and returns what it says.
Typed = Callable[..., str]


def typed(commands: click.Group, *words: object, **environment: object) -> str:
    """What a command says, typed in this process, where most is loaded already.

    Raises:
        WardroundError: it is refused.
        RunError: it ends with another exit code than 0.
    """
    known = {name: str(value) for name, value in environment.items()}
    result = CliRunner().invoke(commands, [str(word) for word in words], env=known, catch_exceptions=False)
    if result.exit_code != 0:
        raise RunError(f"{words}: {result.output}")
    return result.output


# Commands that take several people.


def join(
    at_member: Typed,
    at_coordinator: Typed,
    connection: Path,
    kit: Path,
    *options: str,
    researcher: bool = False,
) -> None:
    """Become a member: a request one way, a kit the other. Nobody telephones here."""
    group = ("researcher",) if researcher else ()
    at_member(*group, "init", "--to", connection, *options)
    at_coordinator("admit", connection / "request.json", "--to", kit, "--yes")
    at_member(*group, "install", kit, "--to", connection, "--yes")


def approve(at_site: Typed, by: str) -> None:
    """Agree to whatever waits in a hospital's inbox."""
    for study in waiting(at_site("study", "inbox")):
        at_site("study", "approve", study, "--by", by, "--until", "2999-12-31")


def waiting(inbox: str) -> list[str]:
    """The ids of studies in a printed inbox."""
    words = [line.split()[0] for line in inbox.splitlines() if "waiting" in line]
    return [word for word in words if len(word) == 12]


# Programs.


def start_coordinator(programs: Programs, folder: Path, superlink: int, port: int) -> None:
    """Start SuperLink, launcher and gateway of the coordinator's ``folder``.

    Args:
        programs: who starts them, as ``superlink``, ``coordinator`` and ``nginx``.
        folder: what ``provision`` has made.
        superlink: the port of ``superlink`` in it.
        port: one of the gateway's.

    Raises:
        ConfigError: there is no nginx.
    """
    nginx = shutil.which("nginx", path=programs.environment["PATH"])
    if nginx is None:
        raise ConfigError(
            "nginx, which is the coordinator's gateway, is not on this machine; install or load it"
        )
    settings, address = ("--folder", folder), f"127.0.0.1:{superlink}"
    database = programs.folder / "superlink.db"
    programs.start(
        "superlink", COORDINATOR, "superlink", *settings, "--database", database, "--listen", address
    )
    programs.start("coordinator", COORDINATOR, "launcher", *settings, "--runtime", address)
    (programs.folder / "nginx").mkdir(exist_ok=True)
    programs.start("nginx", nginx, "-e", "stderr", "-p", folder / "gateway", "-c", "nginx.conf")
    programs.until_listening(superlink)
    programs.until_listening(port)


class Hospital:
    """A hospital's programs on this machine, called e.g. ``alder-custodian``.

    Args:
        programs: who starts them.
        folder: called as the hospital, with ``site.yaml`` and ``connection``.
        sockets: where the custodian's are, ``relay/relay.sock`` and ``admin/admin.sock``.
        gateway: where its gateway expects the SuperNode.
        runtime: where its SuperNode hands out messages.
    """

    def __init__(self, programs: Programs, folder: Path, sockets: Path, gateway: int, runtime: int) -> None:
        connection, runtime_address = ("--connection", folder / "connection"), f"127.0.0.1:{runtime}"
        relay = sockets / "relay" / "relay.sock"
        self._programs = programs
        self._name = folder.name
        self._admin = sockets / "admin" / "admin.sock"
        self._arguments: dict[str, tuple[object, ...]] = {
            "custodian": ("--config", folder / "site.yaml"),
            "gateway": (*connection, "--listen", f"127.0.0.1:{gateway}"),
            "supernode": (
                *(*connection, "--gateway", f"127.0.0.1:{gateway}"),
                *("--runtime", runtime_address, "--custodian", relay),
            ),
            "launcher": (*connection, "--runtime", runtime_address),
        }

    def start(self, part: str, **environment: str) -> None:
        """Start one of ``PARTS``."""
        self._programs.start(f"{self._name}-{part}", SITE, part, *self._arguments[part], **environment)

    def until_open(self) -> None:
        """Wait for the custodian: a study asked for before it answers would not be in its inbox."""
        client = AdminClient(self._admin)

        def answers() -> bool:
            try:
                client.studies()
            except RunError:
                return False
            return True

        self._programs.until(answers, f"{self._name}'s custodian")


class Researcher:
    """Runs studies by the stock ``flwr`` command, through a tunnel called ``tunnel``.

    Args:
        programs: who starts both.
        federation: as ``flwr`` calls it.
        connection: what the researcher has made and got to be a member.
        port: where the tunnel listens.
    """

    def __init__(self, programs: Programs, federation: str, connection: Path, port: int) -> None:
        self._programs = programs
        self._federation = federation
        self._connection = connection
        self.address = f"127.0.0.1:{port}"
        self._port = port

    def start(self) -> None:
        """Start the tunnel, and tell ``flwr`` of it."""
        home = Path(self._programs.environment["FLWR_HOME"])
        home.mkdir(exist_ok=True)
        (home / "config.toml").write_text(
            f'[superlink.{self._federation}]\naddress = "{self.address}"\ninsecure = true\n'
        )
        listen = ("--connection", self._connection, "--listen", self.address)
        self._programs.start("tunnel", COORDINATOR, "tunnel", *listen)
        self._programs.until_listening(self._port)

    def run(self, app: Path, overrides: Sequence[str]) -> int:
        """Have a study run; returns Flower's number of the run.

        Raises:
            RunError: ``flwr run`` does not take it.
        """
        config = self._programs.folder / "run.toml"
        config.write_text(run_config_file(list(overrides)))
        answer = self.flwr("run", app, self._federation, "--run-config", config)
        if not answer["success"]:
            raise RunError(f"flwr run: {answer}")
        return int(answer["run-id"])

    def flwr(self, *words: object) -> dict[str, Any]:
        """What ``flwr`` says, as JSON."""
        told = self._programs.run(BIN / "flwr", *words, "--format", "json")
        answer: dict[str, Any] = json.loads(told[told.index("{") :])
        return answer
