"""A hospital whose ingest is in containers, by the compose files that ship; archive and record are real.

Both are programs of this machine behind TLS, as in a hospital, at the address that this machine has on
Docker's own bridge. One more compose file says where their names lead, as the hospital's name service would.
"""

import json
import os
import subprocess
from contextlib import contextmanager
from shutil import copy, which
from urllib.parse import urlsplit

from certificates import Authority
from contained import host_address
from engine import TAG, run
from ingest_hospital import given, records
from omegaconf import OmegaConf
from orthanc import OWN_TITLE, start_pacs

from federation.probe import answers
from simulation.hospital import fhir, orthanc
from simulation.hospital.ct_series import studies
from simulation.hospital.fhir import start_fhir
from simulation.hospital.records import MRN
from simulation.programs import ROOT, free_ports

FILL = "pacs"  # what fills the store
PROJECT = "wardround-test-ingest"
PACS, RECORD, TOKEN = "pacs.hospital.example", "fhir.hospital.example", "login.hospital.example"
WAYS = ("pacs", "record", "token")

_TLS = """
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
  access_log off;
  client_max_body_size 0;
  {servers}
}}
"""
_SERVER = """
  server {{
    listen {address}:{port} ssl;
    ssl_certificate {folder}/{name}.crt;
    ssl_certificate_key {folder}/{name}.key;
    location / {{ proxy_pass http://127.0.0.1:{to}; proxy_buffering off; }}
  }}
"""


def missing():
    """Why there can be no such hospital here, or nothing."""
    nginx = (
        "" if which("nginx", path="/usr/sbin:/usr/bin") else "nginx is not installed; apt-get install nginx"
    )
    return orthanc.missing() or fhir.missing() or nginx


class Ingesting:
    """See the module.

    Args:
        programs: who starts and kills what is no container.
    """

    def __init__(self, programs):
        self.programs = programs
        self.folder = programs.folder
        self.address = host_address("bridge")
        self.pacs_port, self.record_port = free_ports(2)
        self.file = self.folder / "site.env"
        self.names = self.folder / "names.yaml"
        self.files = f"compose.yaml:compose.ingest.yaml:{self.names}"
        self._write_settings()

    def set_up(self):
        """Open the hospital: patients, their list of opt-outs, who may ask; no container runs yet."""
        self.close()
        self.pacs = start_pacs(self.programs, studies(10, slices=4))
        self.fhir = start_fhir(self.programs, "fhir")
        for bundle in records(self.pacs.studies):
            self.fhir.post(bundle)
        for made in ("config", "ingest", "secrets"):
            (self.folder / made).mkdir()
        self._stand_behind_tls()
        self._write_site()
        credentials = self.folder / "ingest/pacs.credentials"
        credentials.write_text(f"Basic {':'.join(self.pacs.orthanc.user)}\n")
        credentials.chmod(0o600)
        (self.folder / "ingest/opt_outs.csv").write_text("patient\n")
        return self

    @property
    def allowed(self):
        """The studies of patients who have agreed."""
        return [study for study in self.pacs.studies if given(study) == "permit"]

    def close(self):
        """Leave nothing behind, of a run before neither."""
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")

    def _write_settings(self):
        """What .env says, and where names lead."""
        settings = {
            "COMPOSE_PROJECT_NAME": PROJECT,
            "COMPOSE_FILE": self.files,
            "WARDROUND_TAG": TAG,
            "WARDROUND_CONFIG": self.folder / "config",
            "WARDROUND_DATA": self.folder / "data",
            "WARDROUND_STATE": self.folder / "custodian",
            "WARDROUND_CACHE": self.folder / "cache",
            "WARDROUND_SOCKETS": self.folder / "sockets",
            "WARDROUND_CONNECTION": self.folder / "connection",
            "WARDROUND_INGEST": self.folder / "ingest",
            "WARDROUND_PACS": PACS,
            "WARDROUND_PACS_PORTS": self.pacs_port,
            "WARDROUND_RECORD": RECORD,
            "WARDROUND_RECORD_PORTS": self.record_port,
            "WARDROUND_TOKEN": TOKEN,
            "WARDROUND_TOKEN_PORTS": 443,
        }
        self.file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        hosts = zip(WAYS, (PACS, RECORD, TOKEN), strict=True)
        leads = {way: {"extra_hosts": [f"{name}:{self.address}"]} for way, name in hosts}
        OmegaConf.save({"services": leads}, self.names)

    def _stand_behind_tls(self):
        authority, secrets = Authority("hospital"), self.folder / "secrets"
        (self.folder / "config/ca.crt").write_bytes(authority.pem)
        behind = ((PACS, self.pacs_port, self.pacs.orthanc.url), (RECORD, self.record_port, self.fhir.url))
        servers = ""
        for name, port, url in behind:
            authority.server(name).write(secrets, name)
            to = urlsplit(url).port
            servers += _SERVER.format(address=self.address, port=port, folder=secrets, name=name, to=to)
        config = self.folder / "tls.conf"
        config.write_text(_TLS.format(folder=self.folder, servers=servers))
        self.programs.start("tls", "nginx", "-e", "stderr", "-p", self.folder, "-c", config)
        self.programs.until(lambda: answers(f"{self.address}:{self.record_port}"), "TLS")

    def _write_site(self):
        """The example of conf/site with an ingest."""
        inside = "/var/lib/wardround-ingest"
        site = OmegaConf.load(ROOT / "conf/site/hospital.yaml")
        site.ingest = {
            "folder": inside,
            "store": "/data",
            "cohort": "/etc/wardround/cohort.yaml",
            "pacs": {
                "kind": "dicomweb",
                "url": f"https://{PACS}:{self.pacs_port}/dicom-web",
                "credentials": f"{inside}/pacs.credentials",
                "tls": {"authority": "/etc/wardround/ca.crt"},
            },
            "fhir": {
                "url": f"https://{RECORD}:{self.record_port}/fhir",
                "patient_system": MRN,
                "ca_file": "/etc/wardround/ca.crt",
            },
            "consent": {"policy": "opt_in", "opt_outs": f"{inside}/opt_outs.csv"},
        }
        OmegaConf.save(site, self.folder / "config/site.yaml")
        copy(ROOT / "conf/cohort/lung_nodule.yaml", self.folder / "config/cohort.yaml")

    def speak_dimse(self):
        """Write dimse.yaml: the same hospital by C-GET, into a store beside the other.

        The archive is given by the name of its way, as one that has an address and no name has to be.
        """
        site = OmegaConf.load(self.folder / "config/site.yaml")
        site.ingest.folder += "/dimse"
        site.ingest.store += "/dimse"
        archive = self.pacs.orthanc
        site.ingest.pacs = {"kind": "dimse", "host": "pacs", "port": archive.dimse, "title": archive.title}
        site.ingest.pacs.own_title = OWN_TITLE
        OmegaConf.save(site, self.folder / "config/dimse.yaml")

    # What people type.

    def typed(self, *words, check=True, given=""):
        """``./run WORDS``, with ``given`` to read."""
        environment = {**self.programs.environment, "ENV_FILE": str(self.file)}
        return run(
            ROOT / "docker/site/run", *words, cwd=self.folder, env=environment, check=check, given=given
        )

    def compose(self, *words, changed=None):
        """What ``docker-compose WORDS`` prints; ``changed`` is what one more file says of services."""
        files = self.files
        if changed is not None:
            weakened = self.folder / "weakened.yaml"
            OmegaConf.save({"services": changed}, weakened)
            files += f":{weakened}"
        done = subprocess.run(
            ["docker-compose", "--env-file", self.file, *words],
            cwd=ROOT / "docker/site", env={**os.environ, "COMPOSE_FILE": files}, stdin=subprocess.DEVNULL,
            check=False, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, f"{words}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout.strip()

    def inspect(self, service):
        """A container that runs."""
        return json.loads(run("docker", "inspect", self.compose("ps", "--quiet", service)))[0]

    # What somebody inside tries.

    def inside(self, service, code, **changes):
        """What Python says in a container of ``service``; with ``changes`` of what the compose files say."""
        command = ("run", "--rm", "-T", "--no-deps", "--entrypoint", "python", service, "-P", "-c", code)
        return self.compose(*command, changed={service: changes} if changes else None)

    def execute(self, service, code):
        """What Python says in the container of ``service`` that runs."""
        return self.compose("exec", "-T", service, "python", "-P", "-c", code)

    def address_of(self, way, network):
        """Where a way is on one of its networks."""
        return self.inspect(way)["NetworkSettings"]["Networks"][f"{PROJECT}_{network}"]["IPAddress"]

    @contextmanager
    def changed(self, **services):
        """Other settings of services that run, for a while."""
        self.compose("up", "--detach", *services, changed=services)
        try:
            yield
        finally:
            self.compose("up", "--detach", *services)
