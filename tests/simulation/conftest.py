"""Tiny simulations, and the command that runs them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from federation.overrides import quoted
from simulation.simulate import main


def pytest_itemcollected(item: pytest.Item) -> None:
    """A run with its comparison is seven runs."""
    if "compared" in getattr(item, "fixturenames", ()):
        item.add_marker(pytest.mark.deployment)


HERE = Path(__file__).parent
ROOT = HERE.parents[1]

# A network of some hundred numbers, two rounds of two steps, no pretraining.
SMALL = (
    "pretraining.source=random",
    "model.arguments.channels=[4,8]",
    "model.arguments.strides=[4,4]",
    "model.arguments.norm=[group,{num_groups: 2}]",
    "rounds=2",
    "training.steps=2",
    "compare=false",
    "audit=false",
)
# The same over nodules, or over a task of noise that takes no time.
BASES = {
    "nodules": SMALL,
    "noise": (
        *SMALL,
        "task.package=tiny_task",
        "site.policy.tasks=[tiny_task]",
        "task.image_size=[8,8]",
        "model.arguments.strides=[2,2]",
        "~task.options.label",
    ),
}


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory):
    """One cache for the session, so that images are rendered once; a chosen one is left as it is."""
    with pytest.MonkeyPatch.context() as patch:
        if "WARDROUND_CACHE" not in os.environ:
            patch.setenv("WARDROUND_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.syspath_prepend(str(HERE))
        yield


@dataclass(frozen=True)
class Outcome:
    """What a simulation came to."""

    code: int
    out: str
    err: str
    folder: Path

    def read(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text())

    @property
    def summary(self) -> Any:
        return self.read("summary.json")

    @cached_property
    def rounds(self) -> list[Any]:
        lines = [json.loads(line) for line in (self.folder / "metrics.jsonl").read_text().splitlines()]
        return [line for line in lines if line["event"] == "round"]

    @property
    def models(self) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in (self.folder / "models").glob("*.safetensors")}


@pytest.fixture(scope="session")
def noise() -> tuple[str, ...]:
    """The overrides of a tiny run over noise."""
    return BASES["noise"]


@pytest.fixture(scope="session")
def simulate_in() -> Callable[..., Outcome]:
    """``simulate_in(folder, "rounds=1", on="nodules")``: the command, in this process."""

    def run(folder: Path, *arguments: str, on: str = "noise") -> Outcome:
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = main([*BASES[on], f"run_dir={quoted(folder)}", *arguments])
        return Outcome(code, out.getvalue(), err.getvalue(), folder)

    return run


@pytest.fixture
def simulate(simulate_in: Callable[..., Outcome], tmp_path: Path) -> Callable[..., Outcome]:
    """The same in a folder of the test's own."""

    def run(*arguments: str, on: str = "noise", name: str = "run") -> Outcome:
        return simulate_in(tmp_path / "runs" / name, *arguments, on=on)

    return run


@pytest.fixture
def start(tmp_path):
    """The same command as a process of its own, begun and not waited for."""
    begun = []

    def run(*arguments: str, prefix: tuple[str, ...] = (), alone: bool = False) -> Any:
        """With ``alone``, nothing is added to the arguments."""
        folder = tmp_path / "runs" / "run"
        added = () if alone else (*BASES["noise"], f"run_dir={quoted(folder)}")
        process = subprocess.Popen(
            [
                *prefix,
                sys.executable,
                "-m",
                "simulation",
                *added,
                *arguments,
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        begun.append(process)
        return process, folder

    yield run
    for process in begun:
        if process.poll() is None:
            process.kill()
        process.communicate()
