"""A real FHIR R4 server, started for the tests; what it needs is fetched once, outside the tree."""

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import httpx
import pytest

from federation.cache import cache_folder
from federation.files import locked

PROGRAM = Path(__file__).parent / "fhir_server"
FILES = ("package.json", "package-lock.json", "server.mjs")


@dataclass(frozen=True)
class FhirServer:
    """A running server.

    Attributes:
        url: its base, without a slash at the end.
    """

    url: str

    def post(self, bundle: Mapping[str, Any]) -> None:
        """Take a transaction ``Bundle``; one that is not valid R4 is an ``AssertionError``."""
        headers = {"content-type": "application/fhir+json"}
        answer = httpx.post(self.url, content=json.dumps(bundle), headers=headers, timeout=60)
        taken = [entry["response"]["status"] for entry in answer.json().get("entry", [])]
        assert answer.is_success, answer.text
        assert set(taken) == {"201"}, answer.text


@contextmanager
def running_fhir_server() -> Iterator[FhirServer]:
    """An empty server on loopback; without Node or its packages the test is skipped."""
    command = ["node", str(installed() / "server.mjs")]
    # A pipe as its input: it ends with this process, however that dies.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            url = program.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:"), "the FHIR server ended before it answered"
            yield FhirServer(url)
        finally:
            program.kill()


def installed() -> Path:
    """The folder with the server and its packages, in the versions of its lock file; made the first time."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("a FHIR server needs Node 20 or later and npm")
    contents = b"".join((PROGRAM / name).read_bytes() for name in FILES)
    folder = cache_folder() / f"fhir-server-{sha256(contents).hexdigest()[:16]}"
    with locked(folder.with_suffix(".lock"), wait=True):
        if not folder.exists():
            scrap = Path(mkdtemp(dir=folder.parent))
            for name in FILES:
                shutil.copy(PROGRAM / name, scrap)
            install = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0"]
            done = subprocess.run(install, cwd=scrap, capture_output=True, text=True, check=False)
            if done.returncode:
                shutil.rmtree(scrap)
                pytest.skip(f"npm could not fetch the FHIR server: {done.stderr.strip()[:200]}")
            scrap.rename(folder)
    return folder
