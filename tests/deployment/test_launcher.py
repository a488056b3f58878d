"""Both launchers with a real SuperLink and a real SuperNode, and a bundle whose code must never run."""

import json
import os
import sys

import pytest

from simulation.programs import BIN, ROOT, Programs, free_ports

pytestmark = pytest.mark.deployment
HERE = ROOT / "tests/deployment"
EVIL = """
from pathlib import Path
Path({marker!r}).write_text("ran")
from flwr.{kind}app import {kind_title}App
app = {kind_title}App()
"""
PROJECT = """
[project]
name = "evil"
version = "1.0.0"
license = { file = "LICENSE" }
dependencies = ["flwr>=1.41.0"]
[tool.flwr.app]
publisher = "somebody"
fab-format-version = 1
flwr-version-target = "1.41.0"
fab-include = ["*.py", "LICENSE"]
[tool.flwr.app.components]
serverapp = "server:app"
clientapp = "client:app"
[tool.flwr.app.config]
question = ""
"""


class Link:
    """A SuperLink and one SuperNode; who runs their tasks is the test's to start."""

    def __init__(self, programs):
        self.programs = programs
        self.folder = programs.folder
        self.port, self.node_port = free_ports(2)
        self.secret = self.folder / "launcher.secret"
        self.secret.write_bytes(os.urandom(32))
        (self.folder / "flwr").mkdir()
        (self.folder / "flwr/config.toml").write_text(
            f'[superlink.here]\naddress = "127.0.0.1:{self.port}"\ninsecure = true\n'
        )
        self._bundle()
        apart = ("--isolation", "process", "--superexec-auth-secret-file", self.secret, "--host", "127.0.0.1")
        programs.start("superlink", BIN / "flower-superlink", "--insecure", *apart, "--port", self.port)
        programs.until_listening(self.port)
        where = ("--superlink", f"127.0.0.1:{self.port}", "--port", self.node_port)
        command = (sys.executable, HERE / "supernode.py", *apart, *where)
        programs.start("supernode", *command, PYTHONPATH=str(ROOT))
        programs.until_listening(self.node_port)

    def _bundle(self):
        app = self.folder / "app"
        app.mkdir()
        (app / "pyproject.toml").write_text(PROJECT)
        (app / "LICENSE").write_text("none")
        for kind, title in (("server", "Server"), ("client", "Client")):
            marker = str(self.folder / f"{kind}.ran")
            (app / f"{kind}.py").write_text(EVIL.format(marker=marker, kind=kind, kind_title=title))

    def ours(self, seconds=100.0, **site):
        """Start our launchers on both sides."""
        self._start("coordinator", "asking_coordinator.py", self.secret, self.port, self.folder)
        self.our_site(seconds, **site)

    def our_site(self, seconds=100.0, secret=None, dies_in=()):
        self._start("site", "echo_site.py", secret or self.secret, self.node_port, seconds, *dies_in)

    def _start(self, name, program, secret, port, *more):
        command = (sys.executable, HERE / program, secret, f"127.0.0.1:{port}", *more)
        self.programs.start(name, *command, PYTHONPATH=str(ROOT))

    def run(self, question):
        return self.programs.run(
            BIN / "flwr", "run", self.folder / "app", "here", "--run-config", f'question="{question}"'
        )

    def answer(self, question):
        file = self.folder / f"{question}.json"
        self.programs.until(file.exists, f"an answer to {question!r}", 240)
        return json.loads(file.read_text())

    def ran(self):
        return [kind for kind in ("server", "client") if (self.folder / f"{kind}.ran").exists()]


@pytest.fixture
def link(tmp_path):
    with Programs(tmp_path) as programs:
        yield Link(programs)


@pytest.mark.attack("a bundle whose code steals what a hospital has", held_by="the installed release answers")
def test_the_installed_release_answers_whatever_the_bundle_has(link):
    link.ours()
    link.run("first")
    first = link.answer("first")
    link.run("second")
    second = link.answer("second")
    assert (first["text"], second["text"]) == ("installed: first", "installed: second")
    assert first["process"] != second["process"]  # nothing of one message stays for the next
    assert "client.py" in first["bundle"]
    assert link.ran() == []
    assert "bundle" in link.programs.log("site")


@pytest.mark.mutant("a bundle whose code steals what a hospital has", how="Flower's own launcher")
def test_flowers_own_launcher_runs_what_it_is_sent(link):
    for name, port in (("coordinator", link.port), ("site", link.node_port)):
        link.programs.start(
            name, BIN / "flower-superexec", "--insecure", "--runtime-api-address", f"127.0.0.1:{port}",
            "--superexec-auth-secret-file", link.secret,
        )  # fmt: skip
    link.run("first")
    link.programs.until(lambda: "server" in link.ran(), "the bundle's code running")


def test_a_task_that_hangs_is_killed_by_the_clock_and_the_next_is_answered(link):
    link.ours(seconds=3.0)
    link.run("hang")
    assert "error" in link.answer("hang")
    assert "is killed" in link.programs.log("site")
    link.run("after")
    assert link.answer("after")["text"] == "installed: after"


def test_a_launcher_that_is_killed_takes_its_task_with_it_and_the_next_one_goes_on(link):
    link.ours()
    link.run("hang")
    link.programs.until_said("site", "hangs")
    link.programs.kill("site")
    link.our_site()
    assert "error" in link.answer("hang")
    link.run("after")
    assert link.answer("after")["text"] == "installed: after"


@pytest.mark.parametrize("method", ["PullMessages", "PushObject"])
def test_one_that_dies_before_it_has_a_message_or_within_its_reply_holds_up_nothing_that_comes_after(
    link, method
):
    link.ours(dies_in=[method])
    link.run("first")
    link.programs.until(lambda: not link.programs.running("site"), "the launcher's end")
    link.our_site()
    link.run("after")
    assert link.answer("after")["text"] == "installed: after"


@pytest.mark.attack(
    "a stranger asks the SuperNode for a hospital's messages", held_by="the launcher's secret"
)
def test_without_the_secret_there_are_no_tasks(link):
    other = link.folder / "other.secret"
    other.write_bytes(os.urandom(32))
    link.our_site(secret=other)
    link.programs.until_said("site", "gives no tasks")
