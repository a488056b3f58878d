"""A patient record to try things on: a FHIR R4 server on loopback, whose packages are fetched once."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import httpx

from federation.cache import cache_folder
from federation.errors import RunError
from federation.files import locked
from simulation.programs import Programs, free_ports

_PROGRAM = Path(__file__).parent / "fhir_server"
_FILES = ("package.json", "package-lock.json", "server.mjs")


@dataclass(frozen=True)
class FhirServer:
    """A running server.

    Attributes:
        url: its base, without a slash at the end.
    """

    url: str

    def post(self, bundle: Mapping[str, Any]) -> None:
        """Take a transaction.

        Raises:
            RunError: it is not valid R4.
        """
        headers = {"content-type": "application/fhir+json"}
        answer = httpx.post(self.url, json=bundle, headers=headers, timeout=60)
        taken = {entry["response"]["status"] for entry in answer.json().get("entry", [])}
        if not answer.is_success or taken != {"201"}:
            raise RunError(f"the FHIR server does not take a bundle: {answer.text[:500]}")


def missing() -> str:
    """Why no server can be started here; empty if one can."""
    try:
        for name in ("node", "npm"):
            _program(name)
    except RunError as error:
        return str(error)
    return ""


def start_fhir(programs: Programs, name: str) -> FhirServer:
    """Start an empty one as ``name``, and wait until it answers.

    Raises:
        RunError: Node is missing, its packages cannot be fetched, or it does not start.
    """
    (port,) = free_ports(1)
    programs.start(name, _program("node"), _installed() / "server.mjs", port)
    programs.until_listening(port)
    return FhirServer(f"http://127.0.0.1:{port}/fhir")


def _program(name: str) -> str:
    """That of the ``test`` extra, beside this Python, or else the machine's."""
    found = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if found is None:
        raise RunError(f"a FHIR server needs Node, and there is no {name}; ./scripts/setup installs it")
    return found


def _installed() -> Path:
    """The folder with the server and its packages, in the versions of its lock file; made the first time."""
    contents = b"".join((_PROGRAM / name).read_bytes() for name in _FILES)
    folder = cache_folder() / f"fhir-server-{sha256(contents).hexdigest()[:16]}"
    with locked(folder.with_suffix(".lock"), wait=True):
        if not folder.exists():
            scrap = Path(mkdtemp(dir=folder.parent))
            for name in _FILES:
                shutil.copy(_PROGRAM / name, scrap)
            install = [_program("npm"), "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
            done = subprocess.run(  # noqa: S603
                [*install, "--fetch-retries=0"], cwd=scrap, capture_output=True, text=True, check=False
            )
            if done.returncode:
                shutil.rmtree(scrap)
                raise RunError(f"npm cannot fetch the FHIR server: {done.stderr.strip()[:300]}")
            scrap.rename(folder)
    return folder
