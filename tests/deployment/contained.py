"""A federation of which the coordinator and one hospital are in containers, by the compose files that ship.

The other hospitals are plain processes. The coordinator's gateway is published on the address that this
machine has on Docker's own bridge: containers and processes both reach it there, and nobody else does.
"""

import ipaddress
import json
import time

from engine import TAG, run

from benchmarks.hospitals import SITE, Hospitals
from federation.probe import answers
from simulation.programs import ROOT

HOSPITAL = "alder"
PARTS = {
    "site": ("custodian", "launcher", "supernode", "gateway"),
    "coordinator": ("gateway", "superlink", "launcher"),
}
CONTAINERS = [(side, part) for side, parts in PARTS.items() for part in parts]


class Contained(Hospitals):
    """See the module.

    Args:
        programs: who starts and kills the other hospitals' processes.
    """

    def __init__(self, programs):
        super().__init__(programs, (HOSPITAL, "birch", "cedar"))
        self.studies = self.folder / "studies"
        self.address = host_address("bridge")
        for side, settings in (
            ("site", self._site_settings()),
            ("coordinator", self._coordinator_settings()),
        ):
            lines = [f"{name}={value}" for name, value in settings.items()]
            self.settings(side).write_text("\n".join([*lines, ""]))

    def settings(self, side):
        return self.folder / f"{side}.env"

    def _site_settings(self):
        here = self.site(HOSPITAL)
        return {
            "WARDROUND_TAG": TAG,
            "WARDROUND_CONFIG": here / "config",
            "WARDROUND_DATA": here / "data",
            "WARDROUND_STATE": here / "custodian",
            "WARDROUND_CACHE": here / "cache",
            "WARDROUND_SOCKETS": here,
            "WARDROUND_CONNECTION": here / "connection",
            "WARDROUND_MEMORY": "6g",
            "WARDROUND_THREADS": 1,
            "WARDROUND_PROXY": "",
        }

    def _coordinator_settings(self):
        return {
            "WARDROUND_TAG": TAG,
            "WARDROUND_FOLDER": self.coordinator,
            "WARDROUND_STUDIES": self.studies,
            "WARDROUND_PUBLISH": self.address,
            "WARDROUND_SITES_PORT": self.sites_port,
            "WARDROUND_CONTROL_PORT": self.control_port,
            "WARDROUND_MEMORY": "4g",
            "WARDROUND_THREADS": 1,
        }

    def compose(self, side, *words):
        return run(
            *("docker-compose", "--project-name", f"wardround-test-{side}"),
            *("--file", ROOT / f"docker/{side}/compose.yaml", "--env-file", self.settings(side), *words),
        )

    def close(self):
        """Leave nothing behind, of a run before neither."""
        for side in PARTS:
            self.compose(side, "down", "--volumes", "--timeout", "5")

    # What people type.

    def at_coordinator(self, *arguments):
        return self._typed("coordinator", *arguments)

    def at_site(self, name, *arguments):
        if name != HOSPITAL:
            return super().at_site(name, *arguments)
        here = {str(self.connection(name)): "/connection", str(self.folder): "/work"}
        words = [str(word) for word in arguments]
        for outside, inside in here.items():
            words = [word.replace(outside, inside) for word in words]
        return self._typed("site", *words)

    def _typed(self, side, *arguments):
        environment = {**self.programs.environment, "ENV_FILE": str(self.settings(side))}
        return run(ROOT / f"docker/{side}/run", *arguments, cwd=self.folder, env=environment)

    def _coordinator(self):
        settings = self.folder / "federation.yaml"
        settings.write_text(
            f"name: trial\naddress: {self.address}\nsites_port: {self.sites_port}\n"
            f"control_port: {self.control_port}\n"
        )
        self.at_coordinator("provision", settings, "--to", self.coordinator)

    def _site(self, name, part):
        if name != HOSPITAL:
            return super()._site(name, part)
        here = self.site(name)
        for made in ("config", "data"):
            (here / made).mkdir(parents=True)
        config = SITE.format(name=name, part=part, folder="/run/wardround")
        config = config.replace("/run/wardround/custodian", "/var/lib/wardround")
        config = config.replace("data: {", "data: {folder: /data, ")
        (here / "config/site.yaml").write_text(config)
        return None

    # Processes.

    def start_coordinator(self):
        self.close()
        self.compose("coordinator", "up", "--detach")
        for port in (self.sites_port, self.control_port):
            self.programs.until(lambda port=port: answers(f"{self.address}:{port}"), f"port {port}")
        self.programs.until(lambda: self.answers("coordinator", "superlink", "127.0.0.1:8000"), "a SuperLink")

    def reload(self):
        """The command has told nginx already, which takes a moment."""
        time.sleep(0.5)

    def _begin(self, name):
        if name != HOSPITAL:
            return super()._begin(name)
        return self.compose("site", "up", "--detach")

    def container(self, side, part):
        return self.compose(side, "ps", "--quiet", part)

    def inspect(self, side, part):
        return json.loads(run("docker", "inspect", self.container(side, part)))[0]

    def log(self, side, part):
        return run("docker", "logs", self.container(side, part))

    def answers(self, side, part, where):
        """Whether somebody answers there, as a container sees it."""
        probe = ("python", "-P", "-m", "federation.probe", where)
        return not run("docker", "exec", self.container(side, part), *probe, check=False)

    def healthy(self, side, part):
        return self.inspect(side, part)["State"]["Health"]["Status"] == "healthy"

    def inside(self, side, part, code):
        """What Python, or bash where there is none, says inside a container."""
        shell = ("bash", "-c") if (side, part) == ("coordinator", "gateway") else ("python", "-P", "-c")
        return run("docker", "exec", self.container(side, part), *shell, code, check=False, seconds=120)


def host_address(network):
    """Which address this machine has on one of Docker's networks."""
    config = json.loads(run("docker", "network", "inspect", network))[0]["IPAM"]["Config"][0]
    return config.get("Gateway") or str(next(ipaddress.ip_network(config["Subnet"]).hosts()))
