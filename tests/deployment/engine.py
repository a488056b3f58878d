"""A container engine for tests: the one that runs, or one of our own, and images of this tree.

An engine of our own keeps its layers in a folder of the temporary ones, so that a second run builds little.
"""

import os
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest.mock import patch

import pytest

from federation.files import locked
from simulation.programs import ROOT

FOLDER = Path(os.environ.get("WARDROUND_ENGINE") or Path(tempfile.gettempdir()) / "wardround-engine")
BASE = "python:3.11-slim"
TAG = "test"
TORCH = os.environ.get("WARDROUND_TORCH", "cuda")
IMAGES = ("node", "custodian", "coordinator", "gateway")


def run(*command, check=True, seconds=600, given="", **options):
    """What ``command``, which is ``given`` something to read, prints, of either kind."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, check=False, timeout=seconds, text=True,
        input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options,
    )  # fmt: skip
    assert not check or done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-4000:]}"
    return done.stdout.strip()


@contextmanager
def engine():
    """A running engine, for one test process at a time; skips where there can be none."""
    missing = [name for name in ("docker", "docker-compose") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"no containers: {' and '.join(missing)} not installed")
    with locked(FOLDER / "lock", wait=True), _environment_of_nobody():
        if _answers():
            yield
        elif os.geteuid() == 0 and shutil.which("dockerd"):
            with _own_engine():
                yield
        else:
            pytest.skip("no containers: no engine answers, and only root with dockerd can start one")


def build(*targets):
    """Build images of this tree, with the builder that every engine has."""
    _have_base()
    _hand_in_what_builds_need()
    for target in targets:
        run(
            "docker", "build", "--quiet", "--file", "docker/Dockerfile", "--target", target,
            "--build-arg", f"TORCH={TORCH}",
            "--tag", f"wardround/{target}:{TAG}", ".",
            cwd=ROOT, seconds=1800, env={**os.environ, "DOCKER_BUILDKIT": "0"},
        )  # fmt: skip


@contextmanager
def _environment_of_nobody():
    """Without settings of ours: compose prefers them to those in a hospital's .env."""
    with patch.dict(os.environ):
        for name in [name for name in os.environ if name.startswith("WARDROUND_")]:
            del os.environ[name]
        yield


@contextmanager
def _own_engine():
    with (FOLDER / "dockerd.log").open("wb") as log:
        process = subprocess.Popen(
            ["dockerd", "--data-root", FOLDER / "layers", "--exec-root", FOLDER / "run"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        end = time.monotonic() + 60
        while not _answers():
            if process.poll() is not None or time.monotonic() > end:
                last = (FOLDER / "dockerd.log").read_text(errors="replace").splitlines()[-1:]
                pytest.skip(f"no containers: dockerd does not start here ({''.join(last)[:200]})")
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(60)


def _answers():
    done = subprocess.run(["docker", "version"], check=False, capture_output=True)
    return done.returncode == 0


def _have_base():
    """The base image: the engine's, a registry's, or, where none is reached, Debian's packages."""
    if run("docker", "images", "--quiet", BASE):
        return
    with suppress(AssertionError, subprocess.TimeoutExpired):
        run("docker", "pull", "--quiet", BASE, seconds=60)
        return
    kept = FOLDER / "base.tar"
    if not kept.exists():
        if os.geteuid() != 0 or shutil.which("debootstrap") is None:
            pytest.skip(f"no containers: {BASE} cannot be pulled, and debootstrap (as root) is not there")
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            packages = "--include=python3,python3-venv,ca-certificates"
            run("debootstrap", "--variant=minbase", packages, "bookworm", f"{folder}/root")
            for left in ("var/cache/apt/archives", "var/lib/apt/lists"):
                shutil.rmtree(f"{folder}/root/{left}")
                Path(f"{folder}/root/{left}").mkdir()
            run("tar", "-C", f"{folder}/root", "-cf", kept.with_suffix(".part"), ".")
        kept.with_suffix(".part").rename(kept)
    run("docker", "import", kept, BASE)


def _hand_in_what_builds_need():
    """This machine's own authorities and registry, where nobody has laid others there."""
    folder = ROOT / "docker/build-time"
    authorities = Path(os.environ.get("PIP_CERT") or "/etc/ssl/certs/ca-certificates.crt")
    if (folder / "pip.conf").exists() or not authorities.exists():
        return
    shutil.copy(authorities, folder / "ca.crt")
    index = os.environ.get("PIP_INDEX_URL")
    lines = ["[global]", "cert = /build-time/ca.crt", *([f"index-url = {index}"] if index else [])]
    (folder / "pip.conf").write_text("\n".join(lines) + "\n")
